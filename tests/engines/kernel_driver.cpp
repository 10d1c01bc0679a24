// Loads the native kernel as bsr.engines.native does, for a processor that Python is not emulated on.
//
// driver KERNEL.so < input > output, where input is: count, batch size, parameters, bytes of all images, images
// (int64); weights (float); images (bytes); labels (float); order (int64, count); a rate per step (double).
// Output: the first gradient, the loss of every step, the weights after them (float).

#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>

#include <vector>

struct Training {  // as in training.h
  void *weights, *mean, *square, *work;
  const void *images, *labels;
  int64_t batch_size, step, drawn;
  uint64_t seed;
  double beta1, beta2, epsilon;
  int32_t loss, optimiser, dropping;
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

  const auto sizes = read<int64_t>(5);
  const int64_t count = sizes[0], batch_size = sizes[1], parameters = sizes[2], bytes_of_images = sizes[3];
  const int64_t steps = (count + batch_size - 1) / batch_size;
  auto weights = read<float>(parameters);
  const auto images = read<uint8_t>(bytes_of_images);
  const auto labels = read<float>(sizes[4]);
  const auto order = read<int64_t>(count);
  const auto rates = read<double>(steps);
  std::vector<float> mean(parameters), square(parameters), found(parameters), losses(steps);
  std::vector<uint8_t> room(bytes() + 64);
  const auto address = reinterpret_cast<uintptr_t>(room.data());
  Training training = {};
  training.weights = weights.data(), training.mean = mean.data(), training.square = square.data();
  training.work = reinterpret_cast<void *>((address + 63) / 64 * 64);
  training.images = images.data(), training.labels = labels.data(), training.batch_size = batch_size;
  training.beta1 = 0.9, training.beta2 = 0.999, training.epsilon = 1e-8;
  training.loss = 0, training.optimiser = 1;
  gradient(&training, order.data(), batch_size, found.data());
  train(&training, order.data(), count, rates.data(), losses.data());
  write(found);
  write(losses);
  write(weights);
}
