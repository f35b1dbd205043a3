#include "recurrence_case.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake/fake.h"
#include "mmrec/rng.h"

enum { INPUTS = 7, GUARD = 64 };
static const char *const argument_dims[INPUTS] = {"BTD", "BTD", "BD", "DD", "D", "DE", "D"};

mmrec_cuda test_device;
std::string test_warnings;

extern "C" const mmrec_cuda *mmrec_cuda_now(void) { return &test_device; }
extern "C" mmrec_status mmrec_cuda_check(cudaError_t code, const char *what, mmrec_error *error) {
    if (code == cudaSuccess) return MMREC_OK;
    MMREC_FAIL(error, MMREC_INTERNAL, "%s: %s", what, cudaGetErrorString(code));
}
extern "C" mmrec_status mmrec_cuda_launched(cudaError_t code, const char *kernel, mmrec_error *error) {
    return mmrec_cuda_check(code, kernel, error);
}
extern "C" void mmrec_cuda_warn(const char *format, ...) {
    char line[512];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    test_warnings += std::string(line) + "\n";
}

static double element(const mmrec_view &v, bool transpose, int64_t row, int64_t column) {
    int64_t at = transpose ? column * v.stride + row : row * v.stride + column;
    if (v.dtype == MMREC_BF16) return static_cast<double>(mmrec_bf16_to_float(static_cast<uint16_t *>(v.data)[at]));
    return static_cast<double>(static_cast<float *>(v.data)[at]);
}

/* A product in plain loops, queued like a kernel: device memory is out of the host's reach. */
struct queued_product {
    mmrec_view a, b, c;
    const float *bias;
    bool transpose_a, transpose_b, accumulate;
};

static void run_product(void *context) {
    const queued_product &p = *static_cast<const queued_product *>(context);
    int64_t rows = mmrec_shape_rows(&p.c.shape), columns = mmrec_shape_columns(&p.c.shape);
    int64_t depth = p.transpose_a ? mmrec_shape_rows(&p.a.shape) : mmrec_shape_columns(&p.a.shape);
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t j = 0; j < columns; j++) {
            float *to = static_cast<float *>(p.c.data) + i * p.c.stride + j;
            double sum = (p.bias ? static_cast<double>(p.bias[j]) : 0) + (p.accumulate ? static_cast<double>(*to) : 0);
            for (int64_t k = 0; k < depth; k++) {
                sum += element(p.a, p.transpose_a, i, k) * element(p.b, p.transpose_b, k, j);
            }
            *to = static_cast<float>(sum);
        }
    }
}

extern "C" mmrec_status mmrec_cuda_gemm(const mmrec_view *a, bool transpose_a, const mmrec_view *b, bool transpose_b,
                                        const mmrec_view *c, const void *bias, bool accumulate, mmrec_error *error) {
    queued_product p = {*a, *b, *c, static_cast<const float *>(bias), transpose_a, transpose_b, accumulate};
    return mmrec_cuda_check(mmrec_fake_launch(test_device.stream, "product", run_product, &p, sizeof p), "product",
                            error);
}

/* The words that kernels share with the host, in device memory: a fault, then those of grid barriers. */
enum { BARRIER_AT = 256, WORDS_BYTES = 512 };

mmrec_cuda_fault test_fault() {
    mmrec_cuda_fault fault = {MMREC_CUDA_FAULT_SPIN, 0, 0, 0, 0};
    bool good = cudaMemcpy(&fault, test_device.fault, sizeof fault, cudaMemcpyDeviceToHost) == cudaSuccess &&
                cudaMemset(test_device.fault, 0, sizeof fault) == cudaSuccess;
    if (!good) abort(); /* no caller's check could be trusted */
    return fault;
}
void test_report(mmrec_cuda_fault_code code) {
    mmrec_cuda_fault fault = {static_cast<uint32_t>(code), 0, 0, 0, 0};
    if (cudaMemcpy(test_device.fault, &fault, sizeof fault, cudaMemcpyHostToDevice) != cudaSuccess) abort();
}

bool test_device_open() {
    void *words = NULL;
    if (cudaMalloc(&words, WORDS_BYTES) != cudaSuccess || cudaMemset(words, 0, WORDS_BYTES) != cudaSuccess)
        return false;
    memset(&test_device, 0, sizeof test_device);
    test_device.sms = 16;
    test_device.capability = 90;
    test_device.max_shared_bytes = 232448;
    test_device.max_cluster = 16;
    test_device.fault = static_cast<mmrec_cuda_fault *>(words);
    test_device.barrier = reinterpret_cast<unsigned *>(static_cast<char *>(words) + BARRIER_AT);
    test_device.spin_limit = 200000;
    return true;
}

void test_device_close() { (void)cudaFree(test_device.fault); }

/* ---- values ---- */

static int64_t axis(const recurrence_case &c, char letter) {
    return letter == 'B' ? c.batch : letter == 'T' ? c.steps : letter == 'D' ? c.width : 2 * c.width;
}
static mmrec_shape shape_of(const recurrence_case &c, const char *dims) {
    mmrec_shape s = {static_cast<int>(strlen(dims)), {0, 0, 0, 0}};
    for (int i = 0; i < s.ndim; i++) s.dim[i] = axis(c, dims[i]);
    return s;
}

/* Weights like a trained layer's: the sum of a gate stays near 1 whatever D. */
static double input_value(const recurrence_case &c, int input, int64_t at) {
    double u = static_cast<double>(mmrec_rng_uniform(7, static_cast<uint64_t>(input), static_cast<uint64_t>(at)));
    if (input == 1) return static_cast<double>(static_cast<float>(0.05 + 0.9 * u));
    double reach = input == 3 || input == 5 ? 1.5 / sqrt(static_cast<double>(c.width)) : 1.5;
    return static_cast<double>(static_cast<float>((2 * u - 1) * reach));
}

/* A tensor of `T`: guarded, perhaps with gaps between rows. */
template <typename T> struct tensor {
    std::vector<T> memory;
    mmrec_view view = {};
    void open(mmrec_shape shape, mmrec_dtype dtype, int padding) {
        int64_t rows = mmrec_shape_rows(&shape), stride = mmrec_shape_columns(&shape) + padding;
        memory.assign(static_cast<size_t>(rows * stride + 2 * GUARD), static_cast<T>(NAN));
        view = {memory.data() + (padding ? 1 : 0), dtype, shape, stride};
    }
    T *at(int64_t i) {
        int64_t columns = mmrec_shape_columns(&view.shape);
        return static_cast<T *>(view.data) + i / columns * view.stride + i % columns;
    }
    void read(std::vector<double> &to) {
        for (int64_t i = 0; i < mmrec_shape_elements(&view.shape); i++) to.push_back(static_cast<double>(*at(i)));
    }
    template <typename Value> void fill(Value value) {
        for (int64_t i = 0; i < mmrec_shape_elements(&view.shape); i++) *at(i) = static_cast<T>(value(i));
    }
};

/* A call of both passes over tensors of T. */
template <typename T> struct recurrence_run {
    mmrec_op_sizes sizes;
    mmrec_op_call call;
    tensor<T> in[INPUTS], out[2], m, dh, d_in[INPUTS];
    std::vector<uint64_t> scratch[MMREC_PASSES];

    recurrence_run(const recurrence_case &c, mmrec_dtype dtype, int threads, int padding) {
        const mmrec_op_def *def = mmrec_op_get(MMREC_OP_recurrence, MMREC_VARIANT_F64);
        mmrec_error error;
        mmrec_op_sizes_init(def, threads, &sizes);
        sizes.attr[0] = c.bf16;
        sizes.given = (1u << INPUTS) - 1;
        for (int i = 0; i < INPUTS; i++) sizes.in[i] = shape_of(c, argument_dims[i]);
        if (mmrec_op_resolve(def, &sizes, &error) != MMREC_OK) return;
        memset(&call, 0, sizeof call);
        call.sizes = &sizes;
        call.accumulate = c.accumulate;
        for (int i = 0; i < INPUTS; i++) {
            in[i].open(sizes.in[i], dtype, argument_dims[i][1] ? padding : 0);
            in[i].fill([&](int64_t at) { return input_value(c, i, at); });
            call.in[i] = in[i].view;
            if ((c.absent >> i) & 1u) continue;
            d_in[i].open(sizes.in[i], dtype, argument_dims[i][1] ? padding : 0);
            if ((c.accumulate >> i) & 1u) d_in[i].fill([&](int64_t at) { return input_value(c, 8 + i, at); });
            call.d_in[i] = d_in[i].view;
        }
        for (int i = 0; i < 2; i++) {
            out[i].open(sizes.out[i], dtype, padding);
            call.out[i] = out[i].view;
        }
        m.open(sizes.saved[0], dtype, padding);
        call.saved[0] = m.view;
        dh.open(sizes.out[0], dtype, padding);
        dh.fill([&](int64_t at) { return input_value(c, 7, at); });
        call.d_out[0] = dh.view;
        for (int pass = 0; pass < MMREC_PASSES; pass++) {
            scratch[pass].assign(sizes.scratch_bytes[pass] / 8 + 16, 0x7FF8DEAD7FC0DEADull);
        }
    }
    mmrec_op_call *with_scratch(int pass) {
        uintptr_t at = (reinterpret_cast<uintptr_t>(scratch[pass].data()) + 63) / 64 * 64;
        call.scratch = reinterpret_cast<void *>(at);
        return &call;
    }
    void read(recurrence_results &r) {
        out[0].read(r.value[0]);
        out[1].read(r.value[1]);
        m.read(r.value[2]);
        for (int i = 0; i < INPUTS; i++) {
            if (call.d_in[i].data) d_in[i].read(r.value[3 + i]);
        }
    }
};

recurrence_results recurrence_reference(const recurrence_case &c) {
    recurrence_run<double> run(c, MMREC_F64, 1, 0);
    const mmrec_op_def *def = mmrec_op_get(MMREC_OP_recurrence, MMREC_VARIANT_F64);
    recurrence_results r;
    mmrec_error error;
    r.status = def->function[MMREC_FORWARD](run.with_scratch(MMREC_FORWARD), &error);
    if (r.status == MMREC_OK) r.status = def->function[MMREC_BACKWARD](run.with_scratch(MMREC_BACKWARD), &error);
    run.read(r);
    return r;
}

recurrence_results recurrence_kernels(const recurrence_case &c, int padding) {
    recurrence_run<float> run(c, MMREC_F32, MMREC_ON_DEVICE, padding);
    recurrence_results r;
    mmrec_error error;
    for (int pass = 0; pass < MMREC_PASSES && r.status == MMREC_OK; pass++) {
        r.status = mmrec_cuda_op_recurrence.function[pass](run.with_scratch(pass), &error);
        if (r.status == MMREC_OK) r.status = mmrec_cuda_check(cudaDeviceSynchronize(), "waiting", &error);
    }
    if (r.status != MMREC_OK) r.message = error.message;
    run.read(r);
    return r;
}

double recurrence_distance(const std::vector<double> &a, const std::vector<double> &b) {
    double most = 0, largest = 0;
    if (a.size() != b.size()) return INFINITY;
    for (size_t i = 0; i < a.size(); i++) {
        double off = fabs(a[i] - b[i]);
        if (!(off <= most)) most = off;
        largest = fmax(largest, fabs(b[i]));
        if (isnan(off)) return INFINITY;
    }
    return most == 0 ? 0 : most / largest;
}
