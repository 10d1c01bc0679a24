// Training a network on one core, in float32, with Adam or SGD; bsr.engines.native calls it.
//
// The generated source includes this behind the network's types: `Input` takes the images in, `Network` is the
// chain of layers behind it. A block of LANES images goes forward and backward before the next begins, and all
// that it touches stays in the second-level cache if that is large enough. Lanes left empty by the last block of
// a batch repeat an image, without gradient.

#pragma once
#include "layers.h"

enum Loss { MSE = 0, MAE = 1 };
enum Optimiser { SGD = 0, ADAM = 1 };

struct Workspace {
  Input input;
  Network layers;
  Lanes label;
  LaneIntegers unused;  // -1 in the lanes that repeat an image
};

// Mirrored by bsr.engines.generated.
struct Training {
  float *weights, *mean, *square;   // the parameters, Adam's moments, [parameters]
  Workspace *work;                  // aligned to Lanes, zero at first
  const Input::Pixel *images;       // [n][pixels]
  const float *labels;              // [n]
  int64_t batch_size, step, drawn;  // drawn: images that dropout has drawn for
  uint64_t seed;
  double beta1, beta2, epsilon;  // Adam's
  int32_t loss, optimiser, dropping;
};

// What is made of a batch's gradient, part by part, while it is in the cache: a step of the weights, or a copy.
//
// PyTorch's Adam; training.step counts from 1. Moments too small to move a weight become 0: those of dead
// units would stay subnormal for ever, and arithmetic on them takes a hundred times as long.
struct Update {
  const Training &training;
  double rate;
  float *copy;  // [parameters], or null for a step
  float new1 = 1 - training.beta1, old2 = training.beta2, new2 = 1 - training.beta2;
  float size = rate / (1 - __builtin_pow(training.beta1, training.step)), epsilon = training.epsilon;
  float scale = 1 / __builtin_sqrt(1 - __builtin_pow(training.beta2, training.step));

  __attribute__((noinline)) void operator()(int at, const float *__restrict gradient, int count) const {
    float *__restrict const weight = training.weights + at, *__restrict const mean = training.mean + at;
    float *__restrict const square = training.square + at;
    if (copy)
      for (int i = 0; i < count; i++) copy[at + i] = gradient[i];
    else if (training.optimiser == SGD)
      for (int i = 0; i < count; i++) weight[i] -= static_cast<float>(rate) * gradient[i];
    else
      for (int i = 0; i < count; i++) {
        const float slope = gradient[i], moment = mean[i] + (slope - mean[i]) * new1;
        const float squared = old2 * square[i] + new2 * slope * slope;
        mean[i] = ((slope == 0) & (__builtin_fabsf(moment) < __FLT_MIN__)) ? 0 : moment;
        square[i] = squared < __FLT_MIN__ ? 0 : squared;
        weight[i] -= size * mean[i] / (__builtin_sqrtf(square[i]) * scale + epsilon);
      }
  }
};

// Loads the block order[start], ..., at most to order[end - 1], with its labels; order null: 0, 1, 2, ...
static void load(const Input::Pixel *images, const float *labels, const int64_t *order, int64_t start, int64_t end,
                 Workspace &work) {
  const Input::Pixel *rows[LANES];
  for (int lane = 0; lane < LANES; lane++) {
    const bool used = start + lane < end;
    const int64_t position = used ? start + lane : start, index = order ? order[position] : position;
    rows[lane] = images + index * Input::PIXELS;
    work.unused[lane] = used ? 0 : -1;
    work.label[lane] = labels ? labels[index] : 0;
  }
  work.input.load(rows);
}

// Begins to fetch the block order[start], ..., at most to order[end - 1]: its images lie anywhere in memory.
static void prefetch(const Input::Pixel *images, const int64_t *order, int64_t start, int64_t end) {
  constexpr int CACHE_LINE = 64 / sizeof(Input::Pixel);
  for (int64_t position = start; position < end && position < start + LANES; position++)
    for (int pixel = 0; pixel < Input::PIXELS; pixel += CACHE_LINE)
      __builtin_prefetch(images + order[position] * Input::PIXELS + pixel);
}

// The draws of the block that begins so many images after the last one trained on.
static Draws draws(const Training &training, int64_t start) {
  Draws found = {{static_cast<uint32_t>(training.seed), static_cast<uint32_t>(training.seed >> 32)},
                 {},
                 training.dropping != 0};
  for (int lane = 0; lane < LANES; lane++)
    found.image[lane] = static_cast<uint32_t>(training.drawn + start + lane);
  return found;
}

// Compiled once for training and predicting.
__attribute__((noinline)) static Lanes forward(const float *weights, const Draws &draws, Workspace &work) {
  return work.layers.forward(work.input.out, weights, draws);
}

// The gradient of the batch order[0], ..., order[size - 1], for the layers to finish; returns its mean loss. The order is `known` beyond
// the batch, so that the images of the next are fetched while these are computed.
static float batch_gradient(Training &training, const int64_t *order, int64_t size, int64_t known) {
  Workspace &work = *training.work;
  double total = 0;
  work.layers.begin(training.weights);
  for (int64_t start = 0; start < size; start += LANES) {
    load(training.images, training.labels, order, start, size, work);
    prefetch(training.images, order, start + LANES < size ? start + LANES : size, known);
    const Lanes predicted = forward(training.weights, draws(training, start), work);
    const Lanes error = work.unused ? Lanes{} : predicted - work.label;
    const Lanes sign = error > 0.0f ? Lanes{} + 1.0f : (error < 0.0f ? Lanes{} - 1.0f : Lanes{});
    const bool squared = training.loss == MSE;
    const Lanes each = error * (squared ? error : sign), slope = squared ? error + error : sign;
    for (int lane = 0; lane < LANES; lane++) total += each[lane];
    Input::Gradient *const none = nullptr;
    work.layers.backward(work.input.out, none, training.weights, slope / static_cast<float>(size));
  }
  training.drawn += size;
  return static_cast<float>(total / size);
}

// ---- what Python calls ------------------------------------------------------------------------------------

extern "C" {
int64_t bsr_lanes() { return LANES; }
int64_t bsr_workspace_bytes() { return sizeof(Workspace); }

// One step per batch_size images of order [count], at rates [steps]; losses [steps] are those before each.
void bsr_train(Training &training, const int64_t *order, int64_t count, const double *rates, float *losses) {
  for (int64_t start = 0; start < count; start += training.batch_size) {
    const int64_t left = count - start, size = training.batch_size < left ? training.batch_size : left;
    *losses++ = batch_gradient(training, order + start, size, left);
    training.step++;
    training.work->layers.finish(Update{training, *rates++, nullptr});
  }
}

// The gradient [parameters] of one batch; returns its loss.
float bsr_gradient(Training &training, const int64_t *order, int64_t count, float *gradient) {
  const float loss = batch_gradient(training, order, count, count);
  training.work->layers.finish(Update{training, 0, gradient});
  return loss;
}

// predictions [count] for images [count][pixels].
void bsr_predict(Training &training, const Input::Pixel *images, int64_t count, float *predictions) {
  Workspace &work = *training.work;
  for (int64_t start = 0; start < count; start += LANES) {
    load(images, nullptr, nullptr, start, count, work);
    const Lanes value = forward(training.weights, Draws{}, work);
    for (int lane = 0; lane < LANES && start + lane < count; lane++) predictions[start + lane] = value[lane];
  }
}
}
