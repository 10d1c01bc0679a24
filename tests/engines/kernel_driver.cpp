// Loads the native kernel as bsr.engines.native does, for a processor that Python is not emulated on.
//
// driver KERNEL.so < input > output, where input is: count, batch size, images (int64); weights (float); images
// (uint8); labels (float); order (int64, count); a rate per step (double). Output: the first gradient, the
// loss of every step, the weights after them (float).

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

#include <vector>

constexpr int PARAMETERS = 21381, PIXELS = 784;

struct Training {  // as in kernel.cpp
  void *weights, *mean, *square, *work;
  const void *images, *labels;
  int64_t batch_size, step;
  double beta1, beta2, epsilon;
  int32_t loss, optimiser;
};

template <class Number>
std::vector<Number> read(size_t count) {
  std::vector<Number> values(count);
  if (fread(values.data(), sizeof(Number), count, stdin) != count) throw "short input";
  return values;
}

void write(const std::vector<float> &values) { fwrite(values.data(), sizeof(float), values.size(), stdout); }

int main(int, char **arguments) {
  void *kernel = dlopen(arguments[1], RTLD_NOW);
  if (!kernel) return fprintf(stderr, "%s\n", dlerror()), 1;
  auto bytes = reinterpret_cast<int64_t (*)()>(dlsym(kernel, "bsr_workspace_bytes"));
  auto gradient = reinterpret_cast<float (*)(Training *, const int64_t *, int64_t, float *)>(
      dlsym(kernel, "bsr_gradient"));
  auto train = reinterpret_cast<void (*)(Training *, const int64_t *, int64_t, const double *, float *)>(
      dlsym(kernel, "bsr_train"));

  const auto sizes = read<int64_t>(3);
  const int64_t count = sizes[0], batch_size = sizes[1], n = sizes[2];
  const int64_t steps = (count + batch_size - 1) / batch_size;
  auto weights = read<float>(PARAMETERS);
  const auto images = read<uint8_t>(n * PIXELS);
  const auto labels = read<float>(n);
  const auto order = read<int64_t>(count);
  const auto rates = read<double>(steps);
  std::vector<float> mean(PARAMETERS), square(PARAMETERS), found(PARAMETERS), losses(steps);
  std::vector<uint8_t> room(bytes() + 64);
  const auto address = reinterpret_cast<uintptr_t>(room.data());
  Training training = {weights.data(), mean.data(),  square.data(), reinterpret_cast<void *>((address + 63) / 64 * 64),
                       images.data(),  labels.data(), batch_size,    0,
                       0.9,            0.999,         1e-8,          0,
                       1};
  gradient(&training, order.data(), batch_size, found.data());
  train(&training, order.data(), count, rates.data(), losses.data());
  write(found);
  write(losses);
  write(weights);
}
