/* Training steps of a small MLP as a backend is asked for them: forward, backward and AdamW (mmrec/optimizer.h) of one
 * batch after the other in one call. What is computed: model mlp (host/models/mlp.c).
 *
 * The weights of a layer are `in` + 1 rows of `out` numbers, transposed against the parameter (out, in), and the last
 * row is the bias: what comes in ends in a 1, so forward y = x W, backward dW = x^T dy, and the bias is a row like any
 * other.
 *
 * Everything pointed to lies in the backend's memory, and real numbers are of its real type. */
#ifndef MMREC_BACKEND_MLP_H
#define MMREC_BACKEND_MLP_H

#include "mmrec/backend.h"
#include "mmrec/baselines.h"

enum { MMREC_MLP_LAYERS = MMREC_WIDTHS + 1 };

typedef struct mmrec_mlp_layer {
    int64_t in, out;
    int64_t stride; /* of the rows of weights: at least out, what fills them up is 0 */
    int64_t at;     /* the first weight in w, m and v */
} mmrec_mlp_layer;

/* What is known of a step once it is over. */
typedef struct mmrec_mlp_record {
    double loss;          /* mean over its samples, before the update */
    double gradient_norm; /* as mmrec_adamw_state has them; 0 forward only */
    double skipped;
} mmrec_mlp_record;

typedef struct mmrec_mlp_call {
    int layers;
    mmrec_mlp_layer layer[MMREC_MLP_LAYERS];
    mmrec_activation activation;
    mmrec_mlp_loss loss;
    int64_t numbers;          /* in each of w, m and v */
    int64_t batch;            /* samples of a step; the last step has what is left of them */
    int64_t samples;          /* 0: only says whether it could run */
    const int32_t *order;     /* the i-th sample is row order[i]; NULL: row i */
    const void *x, *target;   /* rows of inputs and of outputs, dense */
    const int32_t *classes;   /* cross-entropy: in the place of target; a call without either has no loss */
    void *y;                  /* (samples, outputs), in the order of the samples; NULL: not wanted */
    void *w, *m, *v;          /* parameters and their moments */
    mmrec_adamw_state *state; /* NULL: forward only */
    mmrec_mlp_record *record; /* one a step */
    void *scratch;            /* on the host: mlp_room numbers, zeros at first */
} mmrec_mlp_call;

/* ---- where things lie ---- */

/* A panel: so many columns are computed together on the host. Rows are filled up to whole ones (64 bytes of floats), so
 * that every row begins on a cache line and no loop has a tail. */
enum { MLP_PANEL = 16 };
static inline int64_t mlp_padded(int64_t width) { return (width + MLP_PANEL - 1) / MLP_PANEL * MLP_PANEL; }

/* On a device a row has an odd number of floats, so that rows and columns of weights meet all banks of shared memory.
 */
static inline int64_t mlp_stride(int64_t width, bool device) { return device ? width | 1 : mlp_padded(width); }

/* The layers of a configuration, one behind the other. */
static inline void mlp_lay_out(const mmrec_mlp_config *config, bool device, mmrec_mlp_call *call) {
    call->layers = config->hidden.count + 1;
    call->activation = config->activation;
    call->loss = config->loss;
    call->numbers = 0;
    for (int l = 0; l < call->layers; l++) {
        mmrec_mlp_layer *layer = &call->layer[l];
        layer->in = l > 0 ? config->hidden.width[l - 1] : config->inputs;
        layer->out = l < config->hidden.count ? config->hidden.width[l] : config->outputs;
        layer->stride = mlp_stride(layer->out, device);
        layer->at = call->numbers;
        call->numbers += (layer->in + 1) * layer->stride;
    }
}

#ifdef __CUDACC__
#define MLP_INLINE static inline __host__ __device__
#else
#define MLP_INLINE static inline
#endif
/* Width of what goes into layer l; of the results where l is the number of layers. */
MLP_INLINE int64_t mlp_width(const mmrec_mlp_call *call, int l) {
    return l == 0 ? call->layer[0].in : call->layer[l - 1].out;
}

/* What a step needs on the host besides w, m and v, in real numbers from the start of scratch. */
typedef struct mlp_places {
    int64_t value[MMREC_MLP_LAYERS + 1]; /* (batch, mlp_padded(width + 1)): what goes into a layer, its 1 included; y */
    int64_t kept[MMREC_MLP_LAYERS + 1];  /* the same before the activation; GELU's gradient needs it */
    int64_t turned[MMREC_MLP_LAYERS];    /* (out, mlp_padded(in)): weights as the gradient of x reads them */
    int64_t slope[2];                    /* (batch, mlp_padded(width)): the gradient of what comes out, and goes in */
    int64_t gradient;                    /* as w */
    int64_t numbers;                     /* of all together */
} mlp_places;

static inline int64_t mlp_place(mlp_places *places, int64_t count) {
    int64_t at = places->numbers;
    places->numbers += count;
    return at;
}

static inline mlp_places mlp_places_of(const mmrec_mlp_call *call) {
    mlp_places p = {{0}, {0}, {0}, {0}, 0, 0};
    int64_t widest = 0;
    for (int l = 0; l <= call->layers; l++) {
        int64_t width = mlp_width(call, l);
        bool inside = l > 0 && l < call->layers;
        p.value[l] = mlp_place(&p, call->batch * mlp_padded(width + 1));
        p.kept[l] = p.value[l];
        if (inside && call->activation == MMREC_ACTIVATION_GELU) {
            p.kept[l] = mlp_place(&p, call->batch * mlp_padded(width + 1));
        }
        if (inside) p.turned[l] = mlp_place(&p, call->layer[l].out * mlp_padded(width));
        if (l > 0 && width > widest) widest = width;
    }
    for (int i = 0; i < 2; i++) p.slope[i] = mlp_place(&p, call->batch * mlp_padded(widest));
    p.gradient = mlp_place(&p, call->numbers);
    return p;
}

/* ---- the backends of the host ---- */

mmrec_status mlp_ref(const mmrec_mlp_call *call, mmrec_error *error);
mmrec_status mlp_cpu(const mmrec_mlp_call *call, mmrec_error *error);

/* host/backend/isa/mlp_steps.c, compiled once for each: for double, and for float by instruction set. */
typedef void (*mlp_function)(const mmrec_mlp_call *call);
void mlp_steps_f64(const mmrec_mlp_call *call);
void mlp_steps_base(const mmrec_mlp_call *call);
void mlp_steps_avx2(const mmrec_mlp_call *call);
void mlp_steps_avx512(const mmrec_mlp_call *call);

#endif
