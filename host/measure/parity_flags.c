/* The command line of mmrec-parity. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "core/text.h"
#include "core/units.h"
#include "mmrec/options.h"
#include "mmrec/parity.h"

const char mmrec_parity_help[] = "Usage: mmrec-parity [OPTION]... FILE...\n"
                                 "\n"
                                 "Rebuilds the model of each fixture FILE from its configuration, runs or trains\n"
                                 "it, and compares every output, gradient and trained parameter with the file's.\n"
                                 "\n"
                                 "  --backend ref|cpu|cuda|auto\n"
                                 "                       ref: plain double (default); cpu: float32 with threads;\n"
                                 "                       cuda: kernels on a GPU; auto: cuda or cpu\n"
                                 "  --dtype fp32|bf16    What activations and weights are stored in (default: fp32,\n"
                                 "                       which is plain double on ref; bf16: cuda only)\n"
                                 "  --hem on|off         Fused projections (default: on)\n"
                                 "  --recompute on|off   Compute blocks again for the backward half (default: off)\n"
                                 "  --graphs on|off      On a GPU: compare what CUDA graphs of the step compute\n"
                                 "                       (default: on)\n"
                                 "  --tf32 on|off        On a GPU: products may round to TF32 (default: off)\n"
                                 "  --recurrence auto|cluster|grid|barrier|graph\n"
                                 "                       On a GPU: kernel of the recurrence (default: auto)\n"
                                 "  --rnn auto|cudnn|kernels\n"
                                 "                       On a GPU: what runs LSTM and GRU layers (default: auto,\n"
                                 "                       our kernels)\n"
                                 "  --attention auto|cudnn|kernels\n"
                                 "                       On a GPU: what runs attention (default: auto, cuDNN\n"
                                 "                       for bf16 where there is one and it can)\n"
                                 "  --self-check on|off  On a GPU: check the kernel that auto picks (default: on)\n"
                                 "  --tolerance X        Largest relative error of every tensor (default: 1e-6 on\n"
                                 "                       ref; else 1e-5 for outputs and 1e-4 for gradients,\n"
                                 "                       1e-3 and 5e-3 with --tf32 on, 2e-2 and 8e-2\n"
                                 "                       with bf16; after training 1e-4, or with --tf32 on\n"
                                 "                       1e-3 for losses and 5e-2 for parameters, with bf16\n"
                                 "                       5e-3 and 1.5e-1)\n"
                                 "  --threads N          Threads, 1 to 1024 (default: the processors available)\n"
                                 "  --version            Print the version\n"
                                 "  --help               Print this text\n"
                                 "\n"
                                 "Exit status: 0 all within tolerance; 1 a tensor is not; 2 usage, file or memory;\n"
                                 "77 no GPU, or it was lost.\n";

enum {
    BACKEND,
    DTYPE,
    HEM,
    RECOMPUTE,
    GRAPHS,
    TF32,
    RECURRENCE,
    RNN,
    ATTENTION,
    SELF_CHECK,
    TOLERANCE,
    THREADS,
    VERSION,
    HELP,
    FLAGS
};
static const char *const names[FLAGS] = {"backend",   "dtype",      "hem",     "recompute", "graphs",
                                         "tf32",      "recurrence", "rnn",     "attention", "self-check",
                                         "tolerance", "threads",    "version", "help"};

/* Which of the choices `text` is, from 0. */
static mmrec_status choose(int flag, const char *choices, const char *text, int *out, mmrec_error *error) {
    char words[80];
    *out = mmrec_choice_find(choices, text);
    if (*out >= 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_USAGE, "--%s must be %s, not '%.60s'", names[flag], mmrec_choice_words(choices, words, sizeof words),
               text);
}

static mmrec_status take_number(int flag, const char *text, mmrec_parity_options *options, mmrec_error *error) {
    int64_t threads = 0;
    if (flag == TOLERANCE) {
        if (mmrec_units_real(text, &options->tolerance) && options->tolerance > 0) return MMREC_OK;
        MMREC_FAIL(error, MMREC_USAGE, "--tolerance must be a number above 0, not '%.60s'", text);
    }
    if (mmrec_units_whole(text, &threads) && threads >= 1 && threads <= 1024) {
        options->threads = (int)threads;
        return MMREC_OK;
    }
    MMREC_FAIL(error, MMREC_USAGE, "--threads must be a whole number from 1 to 1024, not '%.60s'", text);
}

static mmrec_status take(int flag, const char *text, mmrec_parity_arguments *out, mmrec_error *error) {
    static const char *const choices[FLAGS] = {[DTYPE] = "fp32|bf16",
                                               [HEM] = "on|off",
                                               [RECOMPUTE] = "on|off",
                                               [GRAPHS] = "on|off",
                                               [TF32] = "on|off",
                                               [RECURRENCE] = "auto|cluster|grid|barrier|graph",
                                               [RNN] = "auto|cudnn|kernels",
                                               [ATTENTION] = "auto|cudnn|kernels",
                                               [SELF_CHECK] = "on|off"};
    int chosen = 0;
    if (choices[flag]) MMREC_TRY(choose(flag, choices[flag], text, &chosen, error));
    bool on = chosen == 0;
    switch (flag) {
    case BACKEND:
        out->backend = text;
        return MMREC_OK;
    case DTYPE:
        out->options.bf16 = chosen == 1;
        return MMREC_OK;
    case HEM:
        out->options.hem = on;
        return MMREC_OK;
    case RECOMPUTE:
        out->options.recompute = on;
        return MMREC_OK;
    case GRAPHS:
        out->options.graphs = on;
        return MMREC_OK;
    case TF32:
        out->device.tf32 = on;
        return MMREC_OK;
    case RECURRENCE:
        out->device.recurrence = (mmrec_recurrence_regime)chosen;
        return MMREC_OK;
    case RNN:
        out->device.rnn = (mmrec_library_choice)chosen;
        return MMREC_OK;
    case ATTENTION:
        out->device.attention = (mmrec_library_choice)chosen;
        return MMREC_OK;
    case SELF_CHECK:
        out->device.no_self_check = !on;
        return MMREC_OK;
    default:
        return take_number(flag, text, &out->options, error);
    }
}

/* getopt_long accepts abbreviations, which break on the day a longer flag is added: only whole names pass. */
static mmrec_status check_name(const char *word, mmrec_error *error) {
    char name[64], shown[64];
    if (word[0] != '-' || word[1] == '\0' || strcmp(word, "--") == 0) return MMREC_OK;
    const char *start = word + (word[1] == '-' ? 2 : 1);
    size_t length = strcspn(start, "=");
    snprintf(name, sizeof name, "%.*s", (int)(length < sizeof name ? length : sizeof name - 1), start);
    for (int i = 0; i < FLAGS && word[1] == '-'; i++) {
        if (strcmp(names[i], name) == 0) return MMREC_OK;
    }
    const char *near = mmrec_nearest_name(name, names, FLAGS);
    mmrec_text_printable(word, strcspn(word, "="), shown, sizeof shown);
    if (near) MMREC_FAIL(error, MMREC_USAGE, "unknown option %s, did you mean --%s?", shown, near);
    MMREC_FAIL(error, MMREC_USAGE, "unknown option %s; see mmrec-parity --help", shown);
}

static mmrec_status take_all(int argc, char **argv, mmrec_parity_arguments *out, mmrec_error *error) {
    struct option list[FLAGS + 1];
    memset(list, 0, sizeof list);
    for (int i = 0; i < FLAGS; i++) {
        /* + 2: getopt_long says 1 for a word that is no option ("-" in its third argument). */
        list[i] = (struct option){names[i], i < VERSION ? required_argument : no_argument, NULL, i + 2};
    }
    opterr = 0;
    for (;;) {
        if (optind < argc) MMREC_TRY(check_name(argv[optind], error));
        int flag = getopt_long(argc, argv, "-:", list, NULL);
        if (flag == -1) break;
        if (flag == ':') MMREC_FAIL(error, MMREC_USAGE, "%s needs a value", argv[optind - 1]);
        if (flag == '?') MMREC_FAIL(error, MMREC_USAGE, "%.60s: this option takes no value", argv[optind - 1]);
        if (flag == 1)
            argv[++out->files] = optarg;
        else if (flag - 2 >= VERSION)
            out->action = flag - 2 == HELP ? MMREC_PARITY_HELP : MMREC_PARITY_VERSION;
        else
            MMREC_TRY(take(flag - 2, optarg, out, error));
    }
    while (optind < argc) argv[++out->files] = argv[optind++]; /* after "--" */
    return MMREC_OK;
}

mmrec_status mmrec_parity_parse(int argc, char **argv, mmrec_parity_arguments *out, mmrec_error *error) {
    *out = (mmrec_parity_arguments){.backend = "ref",
                                    .options = {.hem = true, .graphs = true, .threads = mmrec_backend_processors()}};
    MMREC_TRY(take_all(argc, argv, out, error));
    if (out->action != MMREC_PARITY_CHECK) return MMREC_OK;
    if (!out->files) MMREC_FAIL(error, MMREC_USAGE, "no fixture file given; see mmrec-parity --help");
    out->options.tf32 = out->device.tf32;
    mmrec_backend_device_options(&out->device);
    MMREC_TRY(mmrec_backend_find(out->backend, &out->options.backend, error));
    return mmrec_backend_stores(out->options.backend, mmrec_backend_dtype(out->options.backend, out->options.bf16),
                                error);
}
