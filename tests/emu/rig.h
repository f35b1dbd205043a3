/* Kernels without the CUDA backend: device memory, schedules, and launches that are expected to fail. */
#ifndef MMREC_TESTS_EMU_RIG_H
#define MMREC_TESTS_EMU_RIG_H

#include <string>
#include <vector>

#include "simt.h"

/* Device memory for one test, zeroed or with given values; freed with the object. */
template <typename T> class on_device {
  public:
    explicit on_device(size_t count) : values(count) { make(); }
    explicit on_device(const std::vector<T> &from) : values(from) { make(); }
    ~on_device() { (void)cudaFree(memory); }
    on_device(const on_device &) = delete;
    T *get() { return memory; }
    std::vector<T> read() {
        if (cudaMemcpy(values.data(), memory, values.size() * sizeof(T), cudaMemcpyDeviceToHost) != cudaSuccess) {
            values.clear();
        }
        return values;
    }

  private:
    void make() {
        if (cudaMalloc(reinterpret_cast<void **>(&memory), values.size() * sizeof(T)) != cudaSuccess ||
            cudaMemcpy(memory, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice) != cudaSuccess) {
            memory = NULL;
        }
    }
    std::vector<T> values;
    T *memory = NULL;
};

/* Queues like a launcher and waits; whether both went well. */
#define RIG_RUN(kernel, shape, ...) (SIMT_LAUNCH(kernel, shape, NULL, ##__VA_ARGS__) == MMREC_OK && rig_wait())
bool rig_wait();

/* Runs `body` in a child and returns what it wrote to stderr; `code`: its exit code, -1 if a signal ended it. */
std::string rig_child(int (*body)(), int *code);

#endif
