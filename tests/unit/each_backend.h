/* One check on every backend that this machine has. */
#ifndef EACH_BACKEND_H
#define EACH_BACKEND_H

#include "model_rig.h"

static inline void on_each(void (*check)(const mmrec_backend *backend)) {
    static const char *const names[] = {"ref", "cpu", "cuda"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const mmrec_backend *backend = NULL;
        mmrec_error error = {0};
        if (mmrec_backend_find(names[i], &backend, &error) == MMREC_OK)
            check(backend);
        else
            print_message("no %s: %s\n", names[i], error.message);
    }
}

#endif
