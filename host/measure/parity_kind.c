/* The kinds of fixtures: which model, which tensors, and how their shapes give batch and time. */
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "parity_impl.h"

/* Axes of the tensor that gives the sizes: R repeats, B batch, T time, U time and one more (inputs and targets of
 * tokens), * anything. */
static const parity_kind kinds[] = {
    {.name = "block",
     .models = {"block"},
     .axes = {{"x", "BT*"}},
     .inputs = "x h0 dy",
     .outputs = "y gamma h aux h_last mem_k mem_v"},
    {.name = "model",
     .models = {"mmrec"},
     .axes = {{"ids", "BU"}},
     .inputs = "ids",
     .outputs = "logits loss loss_main loss_aux"},
    {.name = "stream", .models = {"mmrec"}, .run = parity_run_stream},
    {.name = "train",
     .models = {"mmrec"},
     .axes = {{"ids", "RBU"}},
     .inputs = "ids",
     .logs = "loss loss_main loss_aux grad_norm",
     .run = parity_run_train},
    {.name = "nsm_simple",
     .models = {"nsm-simple"},
     .axes = {{"x", "B*"}},
     .inputs = "x dy",
     .outputs = "y states",
     .seeded = true},
    {.name = "nsm_sequence",
     .models = {"nsm-simple"},
     .axes = {{"x", "BT*"}},
     .inputs = "x s0 dy",
     .outputs = "y states",
     .seeded = true},
    {.name = "nsm_hybrid",
     .models = {"nsm-advanced", "nsm-sequential"},
     .choice = "model",
     .axes = {{"x", "B*"}, {"x", "RB*"}},
     .inputs = "x memory dy",
     .outputs = "y read memory",
     .seeded = true},
    {.name = "nsm_router",
     .models = {"nsm-router"},
     .axes = {{"tokens", "BT*"}},
     .inputs = "tokens dy dw",
     .outputs = "y w",
     .seeded = true},
    {.name = "nsm_layer",
     .models = {"nsm-layer"},
     .axes = {{"tokens", "BT*"}},
     .inputs = "states tokens visible dy",
     .outputs = "y",
     .seeded = true},
    {.name = "nsm_states",
     .models = {"nsm-states"},
     .inputs = "dy",
     .outputs = "y",
     .seeded = true,
     .run = parity_run_states},
    {.name = "lstm",
     .models = {"lstm"},
     .axes = {{"x", "BT*"}},
     .inputs = "x h0 c0 dy dh_n dc_n",
     .outputs = "y h_n c_n",
     .seeded = true},
    {.name = "gru",
     .models = {"gru"},
     .axes = {{"x", "BT*"}},
     .inputs = "x h0 dy dh_n",
     .outputs = "y h_n",
     .seeded = true},
    {.name = "rnn_classifier",
     .models = {"lstm", "gru"},
     .choice = "cell",
     .axes = {{"x", "BT*"}, {"ids", "BT"}},
     .inputs = "x ids dy",
     .outputs = "y",
     .seeded = true},
    {.name = "transformer_encoder",
     .models = {"encoder"},
     .axes = {{"x", "BT*"}},
     .inputs = "x dy",
     .outputs = "y",
     .seeded = true},
    {.name = "encoder_classifier",
     .models = {"encoder"},
     .axes = {{"x", "BT*"}, {"ids", "BT"}},
     .inputs = "x ids dy",
     .outputs = "y",
     .seeded = true},
    {.name = "gpt", .models = {"gpt"}, .axes = {{"ids", "BU"}}, .inputs = "ids", .outputs = "logits loss"},
    {.name = "mlp", .models = {"mlp"}, .axes = {{"x", "B*"}}, .inputs = "x target", .outputs = "y loss"},
    {.name = "train_gpt",
     .models = {"gpt"},
     .axes = {{"ids", "RBU"}},
     .inputs = "ids",
     .logs = "loss grad_norm",
     .run = parity_run_train},
    {.name = "train_mlp",
     .models = {"mlp"},
     .axes = {{"x", "RB*"}},
     .inputs = "x target",
     .logs = "loss grad_norm",
     .run = parity_run_train},
};

mmrec_status parity_kind_find(const mmrec_safetensors *file, const parity_kind **out, mmrec_error *error) {
    const char *name = mmrec_safetensors_metadata(file, "kind");
    char text[48], list[320] = "";
    size_t used = 0;
    if (!name) MMREC_FAIL(error, MMREC_FORMAT, "metadata 'kind' is missing: this is not a parity fixture");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        *out = &kinds[i];
        if (strcmp(kinds[i].name, name) == 0) return MMREC_OK;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", kinds[i].name);
    }
    MMREC_FAIL(error, MMREC_UNSUPPORTED, "fixtures of kind '%s' are not supported; the kinds are %s",
               mmrec_text_printable(name, strlen(name), text, sizeof text), list);
}

/* The first of a kind's two ways of saying the sizes whose tensor is there with as many axes; else the first. */
static const parity_axes *axes_of(const parity_work *work) {
    const parity_axes *axes = work->kind->axes;
    for (int i = 0; i < PARITY_WAYS && axes[i].tensor; i++) {
        char name[64];
        snprintf(name, sizeof name, "in.%s", axes[i].tensor);
        const mmrec_safetensors_tensor *found = mmrec_safetensors_find(work->file, name);
        if (found && found->ndim == (int)strlen(axes[i].axes)) return &axes[i];
    }
    return axes;
}

mmrec_status parity_sizes(parity_work *work, mmrec_model_run *run, mmrec_error *error) {
    const parity_axes *axes = axes_of(work);
    char name[64];
    mmrec_shape shape;
    snprintf(name, sizeof name, "in.%s", axes->tensor);
    MMREC_TRY(parity_shape(work, name, (int)strlen(axes->axes), &shape, error));
    run->batch = run->time = work->repeats = 1;
    for (int i = 0; i < shape.ndim; i++) {
        if (axes->axes[i] == 'R') work->repeats = shape.dim[i];
        if (axes->axes[i] == 'B') run->batch = shape.dim[i];
        if (axes->axes[i] == 'T') run->time = shape.dim[i];
        if (axes->axes[i] == 'U') run->time = shape.dim[i] - 1;
    }
    work->repeated = axes->axes[0] == 'R';
    if (work->repeats >= 1) return MMREC_OK;
    MMREC_FAIL(error, MMREC_SHAPE, "%s holds no step; its first axis counts steps", name);
}
