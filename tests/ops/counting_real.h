/* real: a double that counts what is done with it. Compiling host/ops/<op>.c as C++ with MMREC_REAL_COUNT makes every
 * addition, subtraction, multiplication and division of reals a FLOP, and every function below a transcendental.
 *
 * A negation flips a bit and counts nothing, like a comparison. There is no conversion to double on purpose:
 * arithmetic outside of real would not be counted (real_value is the way out, for indices and messages). */
#ifndef MMREC_COUNTING_REAL_H
#define MMREC_COUNTING_REAL_H

#include <cmath>
#include <type_traits>

#include "real_counts.h"

class real {
    double value;

  public:
    real() = default;
    template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
    constexpr real(T x) : value(static_cast<double>(x)) {}
    double plain() const { return value; }

    real &operator+=(real b) { return set(value + b.value); }
    real &operator-=(real b) { return set(value - b.value); }
    real &operator*=(real b) { return set(value * b.value); }
    real &operator/=(real b) { return set(value / b.value); }
    friend real operator+(real a, real b) { return a += b; }
    friend real operator-(real a, real b) { return a -= b; }
    friend real operator*(real a, real b) { return a *= b; }
    friend real operator/(real a, real b) { return a /= b; }
    friend real operator-(real a) { return real(-a.value); }
    friend bool operator<(real a, real b) { return a.value < b.value; }
    friend bool operator>(real a, real b) { return a.value > b.value; }
    friend bool operator<=(real a, real b) { return a.value <= b.value; }
    friend bool operator>=(real a, real b) { return a.value >= b.value; }
    friend bool operator==(real a, real b) { return a.value == b.value; }
    friend bool operator!=(real a, real b) { return a.value != b.value; }

  private:
    real &set(double x) {
        mmrec_real_counted.flops++;
        value = x;
        return *this;
    }
};
/* The harness hands the counting variant the arrays of doubles it made for the reference. */
static_assert(sizeof(real) == sizeof(double) && std::is_trivially_copyable_v<real>,
              "real must lie in memory as a double");

static inline real mmrec_counted(double x) {
    mmrec_real_counted.transcendentals++;
    return real(x);
}
static inline real real_exp(real x) { return mmrec_counted(std::exp(x.plain())); }
static inline real real_log(real x) { return mmrec_counted(std::log(x.plain())); }
static inline real real_sqrt(real x) { return mmrec_counted(std::sqrt(x.plain())); }
static inline real real_erf(real x) { return mmrec_counted(std::erf(x.plain())); }
static inline real real_tanh(real x) { return mmrec_counted(std::tanh(x.plain())); }
static inline double real_value(real x) { return x.plain(); }

#endif
