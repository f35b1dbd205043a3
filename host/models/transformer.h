/* What the two Transformers share: the parameters of a layer, their initial values, and its two halves. */
#ifndef MMREC_MODELS_TRANSFORMER_H
#define MMREC_MODELS_TRANSFORMER_H

#include "baseline.h"

/* A layer's parameters, named as both models name them. */
typedef struct mmrec_transformer_layer {
    mmrec_affine norm1, norm2;
    mmrec_self_attention attention;
    mmrec_affine ffn_in, ffn_out;
} mmrec_transformer_layer;

/* Places of dropout in a layer: attention weights (gpt), what attention adds, inside the feed-forward half (encoder),
 * and what that adds. Draws of a place are addressed by a stream of their own; stream 0 is that of the embedding. */
enum { MMREC_DROP_WEIGHTS, MMREC_DROP_ATTENTION, MMREC_DROP_HIDDEN, MMREC_DROP_FFN, MMREC_DROP_PLACES };
mmrec_drop mmrec_transformer_drop(double p, int layer, int place);

/* Adds the parameters in the scope that is set: MHA, the usual linear maps, norms of 1 and 0. */
mmrec_transformer_layer mmrec_transformer_param(mmrec_graph *graph, int64_t width, int64_t ffn);
/* Every parameter begins with the numbers of its counterpart. */
void mmrec_transformer_copy(mmrec_graph *graph, const mmrec_transformer_layer *layer,
                            const mmrec_transformer_layer *first);
/* Weights normal with that deviation, those of the maps that end a half with the other, biases 0. */
void mmrec_transformer_normal(mmrec_graph *graph, const mmrec_transformer_layer *layer, double deviation,
                              double deviation_out);

/* x + dropout(part) */
mmrec_tensor mmrec_transformer_residual(mmrec_graph *graph, mmrec_tensor x, mmrec_tensor part, mmrec_drop drop);

/* CONFIG unless the heads divide the width. */
mmrec_status mmrec_transformer_check(int64_t heads, int64_t dim, mmrec_error *error) MMREC_MUST_CHECK;

#endif
