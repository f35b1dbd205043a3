/* What both ways of training have of AdamW: over the parameters of an exec, and in one call with the rest (mlp.c). */
#ifndef MMREC_TRAIN_OPTIMIZER_IMPL_H
#define MMREC_TRAIN_OPTIMIZER_IMPL_H

#include "mmrec/optimizer.h"

/* CONFIG naming the setting that is out of range, and its range. */
mmrec_status optimizer_check(const mmrec_optimizer_config *config, mmrec_error *error) MMREC_MUST_CHECK;
mmrec_status optimizer_check_rate(double rate, mmrec_error *error) MMREC_MUST_CHECK;
/* The state before the first step; its rate is 0. */
mmrec_adamw_state optimizer_begin(const mmrec_optimizer_config *config);

#endif
