/* What the files of the library in cuDNN's place share: fake_cudnn.c keeps the journal and the descriptors, and is
 * the LSTM of the yardstick, which computes nothing; fake_cudnn_rnn.c computes the layers with two biases;
 * fake_cudnn_graph.c has the descriptors of the graph API, fake_cudnn_graph_plan.c makes graphs and plans of them, and
 * fake_cudnn_graph_run.c computes these. */
#ifndef MMREC_TEST_FAKE_CUDNN_H
#define MMREC_TEST_FAKE_CUDNN_H

#include <stdbool.h>

#include <cudnn.h>

struct cudnnContext {
    cudaStream_t stream;
};
struct cudnnTensorStruct {
    cudnnDataType_t type;
    int dimensions, size[3], stride[3];
};
struct cudnnDropoutStruct {
    int unused;
};
struct cudnnRNNStruct {
    int algorithm;
    bool computes;
    cudnnRNNMode_t mode;
    int inputs, width;
};
struct cudnnRNNDataStruct {
    cudnnDataType_t type;
    cudnnRNNDataLayout_t layout;
    int batch, steps, width;
};

/* All that the three passes are given; what a pass does not have is NULL. */
typedef struct fake_pass {
    cudnnHandle_t handle;
    cudnnRNNDescriptor_t rnn;
    cudnnForwardMode_t mode;
    const int32_t *lengths;
    cudnnRNNDataDescriptor_t x_data, y_data;
    cudnnTensorDescriptor_t h_state, c_state;
    const void *x, *hx, *cx, *dy, *dhy, *dcy, *weights;
    void *y, *hy, *cy, *dx, *dhx, *dcx, *gradients, *work, *reserve;
    size_t weight_bytes, work_bytes, reserve_bytes;
} fake_pass;

/* Writes the call down; SUCCESS, or `failure` where it is to fail. */
cudnnStatus_t fake_note(const char *call, int algorithm, cudnnStatus_t failure);

/* Queues run(job) on the handle's stream, as mmrec_fake_launch (kernels/fake/fake.h) does: the bytes are copied. */
cudnnStatus_t fake_cudnn_queue(cudnnHandle_t handle, const char *name, void (*run)(void *job), const void *job,
                               size_t bytes);

size_t fake_rnn_weight_bytes(const struct cudnnRNNStruct *rnn);
size_t fake_rnn_work_bytes(const struct cudnnRNNStruct *rnn);
size_t fake_rnn_reserve_bytes(const struct cudnnRNNStruct *rnn, const struct cudnnRNNDataStruct *x);
cudnnStatus_t fake_rnn_forward(const fake_pass *p);
cudnnStatus_t fake_rnn_backward_data(const fake_pass *p);
cudnnStatus_t fake_rnn_backward_weights(const fake_pass *p);

#endif
