/* Elements of safetensors tensors as double. */
#include <math.h>
#include <string.h>

#include "checkpoint/safetensors_impl.h"
#include "mmrec/shape.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file's bytes are used as they are");

/* IEEE half precision: 1 sign, 5 exponent (bias 15), 10 fraction bits. */
static double half_to_double(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = 0;
    if (exponent == 31) {
        size = fraction ? NAN : INFINITY;
    } else if (exponent == 0) {
        size = ldexp(fraction, -24);
    } else {
        size = ldexp(fraction + 1024, exponent - 25);
    }
    return bits & 0x8000 ? -size : size;
}

static double as_is_f(float value) { return (double)value; }
static double bf16(uint16_t value) { return (double)mmrec_bf16_to_float(value); }
static double truth(uint8_t value) { return value ? 1 : 0; }

/* Elements are copied out one by one, as the data may lie at any address. */
#define CONVERT(type, convert)                                                                                         \
    do {                                                                                                               \
        for (size_t i = 0; i < count; i++) {                                                                           \
            type value;                                                                                                \
            memcpy(&value, data + i * sizeof value, sizeof value);                                                     \
            out[i] = convert(value);                                                                                   \
        }                                                                                                              \
    } while (0)

static void convert(mmrec_safetensors_dtype dtype, const unsigned char *data, double *out, size_t count) {
    switch (dtype) {
    case MMREC_SAFETENSORS_F64:
        CONVERT(double, );
        break;
    case MMREC_SAFETENSORS_F32:
        CONVERT(float, as_is_f);
        break;
    case MMREC_SAFETENSORS_F16:
        CONVERT(uint16_t, half_to_double);
        break;
    case MMREC_SAFETENSORS_BF16:
        CONVERT(uint16_t, bf16);
        break;
    case MMREC_SAFETENSORS_I64:
        CONVERT(int64_t, (double));
        break;
    case MMREC_SAFETENSORS_I32:
        CONVERT(int32_t, (double));
        break;
    case MMREC_SAFETENSORS_I16:
        CONVERT(int16_t, (double));
        break;
    case MMREC_SAFETENSORS_I8:
        CONVERT(int8_t, (double));
        break;
    case MMREC_SAFETENSORS_U8:
        CONVERT(uint8_t, (double));
        break;
    case MMREC_SAFETENSORS_BOOL:
        CONVERT(uint8_t, truth);
        break;
    case MMREC_SAFETENSORS_DTYPES:
        break;
    }
}

/* Integers beyond 2^53 are not all doubles: ids must not change silently. */
static mmrec_status check_exact(const mmrec_safetensors_tensor *tensor, size_t count, mmrec_error *error) {
    const int64_t largest = INT64_C(1) << 53;
    for (size_t i = 0; i < count; i++) {
        int64_t value;
        memcpy(&value, (const unsigned char *)tensor->data + i * sizeof value, sizeof value);
        if (value < -largest || value > largest) {
            char shown[SAFETENSORS_SHOWN];
            MMREC_FAIL(error, MMREC_FORMAT, "element %zu of tensor \"%s\" is %lld, wanted at most 2^53 in magnitude", i,
                       safetensors_shown(tensor->name, shown), (long long)value);
        }
    }
    return MMREC_OK;
}

size_t mmrec_safetensors_elements(const mmrec_safetensors_tensor *tensor) {
    return tensor->bytes / mmrec_safetensors_dtype_bytes(tensor->dtype);
}

mmrec_status mmrec_safetensors_read_f64(const mmrec_safetensors_tensor *tensor, double *out, size_t count,
                                        mmrec_error *error) {
    if (count != mmrec_safetensors_elements(tensor)) {
        char shown[SAFETENSORS_SHOWN];
        MMREC_FAIL(error, MMREC_SHAPE, "tensor \"%s\" has %zu elements, wanted %zu",
                   safetensors_shown(tensor->name, shown), mmrec_safetensors_elements(tensor), count);
    }
    if (tensor->dtype == MMREC_SAFETENSORS_I64) MMREC_TRY(check_exact(tensor, count, error));
    convert(tensor->dtype, tensor->data, out, count);
    return MMREC_OK;
}
