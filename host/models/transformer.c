/* What the two Transformers share. */
#include "transformer.h"

mmrec_drop mmrec_transformer_drop(double p, int layer, int place) {
    return (mmrec_drop){p, 1 + (int64_t)layer * MMREC_DROP_PLACES + place};
}

mmrec_transformer_layer mmrec_transformer_param(mmrec_graph *graph, int64_t width, int64_t ffn) {
    mmrec_transformer_layer layer;
    layer.norm1 = mmrec_norm_param(graph, "norm1", width);
    layer.attention = mmrec_self_attention_param(graph, width);
    layer.norm2 = mmrec_norm_param(graph, "norm2", width);
    layer.ffn_in = mmrec_usual_param(graph, "ffn.in", ffn, width);
    layer.ffn_out = mmrec_usual_param(graph, "ffn.out", width, ffn);
    return layer;
}

static void copy_initial(mmrec_graph *graph, mmrec_tensor param, mmrec_tensor first) {
    if (!param || !first) return;
    mmrec_initial initial = mmrec_graph_tensor_info(graph, first).initial;
    initial.same_as = first;
    mmrec_graph_initial(graph, param, initial);
}

/* Norms, and the biases of attention, begin with constants: they are the same in all layers anyway. */
void mmrec_transformer_copy(mmrec_graph *graph, const mmrec_transformer_layer *layer,
                            const mmrec_transformer_layer *first) {
    copy_initial(graph, layer->attention.qkv.weight, first->attention.qkv.weight);
    copy_initial(graph, layer->attention.out.weight, first->attention.out.weight);
    copy_initial(graph, layer->ffn_in.weight, first->ffn_in.weight);
    copy_initial(graph, layer->ffn_in.bias, first->ffn_in.bias);
    copy_initial(graph, layer->ffn_out.weight, first->ffn_out.weight);
    copy_initial(graph, layer->ffn_out.bias, first->ffn_out.bias);
}

static void set_normal(mmrec_graph *graph, mmrec_affine map, double deviation) {
    mmrec_graph_initial(graph, map.weight, mmrec_initial_normal(deviation));
    mmrec_graph_initial(graph, map.bias, mmrec_initial_constant(0));
}

void mmrec_transformer_normal(mmrec_graph *graph, const mmrec_transformer_layer *layer, double deviation,
                              double deviation_out) {
    set_normal(graph, layer->attention.qkv, deviation);
    set_normal(graph, layer->attention.out, deviation_out);
    set_normal(graph, layer->ffn_in, deviation);
    set_normal(graph, layer->ffn_out, deviation_out);
}

mmrec_tensor mmrec_transformer_residual(mmrec_graph *graph, mmrec_tensor x, mmrec_tensor part, mmrec_drop drop) {
    mmrec_term terms[] = {{x, 1}, {part, 1}};
    return mmrec_add_dropped_sum(graph, terms, 2, drop);
}

mmrec_status mmrec_transformer_check(int64_t heads, int64_t dim, mmrec_error *error) {
    if (dim % heads == 0) return MMREC_OK;
    MMREC_FAIL(error, MMREC_CONFIG, "heads (%lld) must divide dim (%lld)", (long long)heads, (long long)dim);
}
