// Training the study's network on one core, in float32, with Adam or SGD; bsr.engines.native calls it.
//
// A block of LANES images goes forward and backward before the next begins, and all that it touches stays in
// the second-level cache. Lanes left empty by the last block of a batch repeat an image, without gradient.
//
// bsr.engines.build compiles it on first use, for the machine at hand.

#include "network.h"

enum Loss { MSE = 0, MAE = 1 };
enum Optimiser { SGD = 0, ADAM = 1 };

// Mirrored by bsr.engines.native.
struct Training {
  Parameters *weights;
  float *mean, *square;   // Adam's moments, [PARAMETERS]
  Workspace *work;        // aligned to Lanes
  const uint8_t *images;  // [n][PIXELS]
  const float *labels;    // [n]
  int64_t batch_size, step;
  double learning_rate;
  int32_t loss, optimiser;
};

// ---- a batch ----------------------------------------------------------------------------------------------

// Loads the block order[start], ..., at most to order[end - 1], with its labels; order null: 0, 1, 2, ...
static void load(const uint8_t *images, const float *labels, const int64_t *order, int64_t start, int64_t end,
                 Workspace &work) {
  const uint8_t *rows[LANES];
  for (int lane = 0; lane < LANES; lane++) {
    const bool used = start + lane < end;
    const int64_t position = used ? start + lane : start, index = order ? order[position] : position;
    rows[lane] = images + index * PIXELS;
    work.unused[lane] = used ? 0 : -1;
    work.label[lane] = labels ? labels[index] : 0;
  }
  for (int pixel = 0; pixel < PIXELS; pixel += LANES) {
    LaneBytes tile[LANES];
    UNROLL
    for (int lane = 0; lane < LANES; lane++)
      tile[lane] = *reinterpret_cast<const UnalignedLaneBytes *>(rows[lane] + pixel);
    transpose(tile);
    UNROLL
    for (int i = 0; i < LANES; i++) work.bytes[pixel + i] = tile[i];
  }
  // flat, because GCC widens bytes well in loops and badly in vectors
  const uint8_t *const bytes = reinterpret_cast<const uint8_t *>(work.bytes);
  float *const image = reinterpret_cast<float *>(work.image);
  for (int i = 0; i < PIXELS * LANES; i++) image[i] = bytes[i];
}

// The gradient of the batch order[0], ..., order[size - 1] into work.gradient; returns its mean loss.
static float batch_gradient(const Training &training, const int64_t *order, int64_t size) {
  Workspace &work = *training.work;
  double total = 0;
  for (int64_t start = 0; start < size; start += LANES) {
    load(training.images, training.labels, order, start, size, work);
    const Lanes error = work.unused ? Lanes{} : forward(*training.weights, work) - work.label;
    const Lanes sign = error > 0.0f ? Lanes{} + 1.0f : (error < 0.0f ? Lanes{} - 1.0f : Lanes{});
    const bool squared = training.loss == MSE;
    const Lanes each = error * (squared ? error : sign), slope = squared ? error + error : sign;
    for (int lane = 0; lane < LANES; lane++) total += each[lane];
    backward(*training.weights, work, slope / static_cast<float>(size), start == 0);
  }
  return static_cast<float>(total / size);
}

// PyTorch's Adam with its defaults; `step` counts from 1. Moments too small to move a weight become 0: those
// of dead units would stay subnormal for ever, and arithmetic on them takes a hundred times as long.
static void adam(float *__restrict weights, float *__restrict mean, float *__restrict square,
                 const float *__restrict gradient, double rate, int64_t step) {
  constexpr double BETA1 = 0.9, BETA2 = 0.999;
  constexpr float EPSILON = 1e-8, NEW1 = 1 - BETA1, OLD2 = BETA2, NEW2 = 1 - BETA2, NORMAL = __FLT_MIN__;
  const float size = rate / (1 - __builtin_pow(BETA1, step));
  const float scale = 1 / __builtin_sqrt(1 - __builtin_pow(BETA2, step));
  for (int i = 0; i < PARAMETERS; i++) {
    const float slope = gradient[i], first = mean[i] + (slope - mean[i]) * NEW1;
    const float second = OLD2 * square[i] + NEW2 * slope * slope;
    mean[i] = ((slope == 0) & (__builtin_fabsf(first) < NORMAL)) ? 0 : first;
    square[i] = second < NORMAL ? 0 : second;
    weights[i] -= size * mean[i] / (__builtin_sqrtf(square[i]) * scale + EPSILON);
  }
}

static void sgd(float *__restrict weights, const float *__restrict gradient, float rate) {
  for (int i = 0; i < PARAMETERS; i++) weights[i] -= rate * gradient[i];
}

// ---- what Python calls ------------------------------------------------------------------------------------

extern "C" {

int64_t bsr_lanes() { return LANES; }

int64_t bsr_workspace_bytes() { return sizeof(Workspace); }

// One step per batch_size images of order [count]; losses [steps] are those before each step.
void bsr_train(Training *training, const int64_t *order, int64_t count, float *losses) {
  float *const weights = reinterpret_cast<float *>(training->weights);
  const float *const gradient = reinterpret_cast<const float *>(&training->work->gradient);
  for (int64_t start = 0; start < count; start += training->batch_size) {
    const int64_t left = count - start, size = training->batch_size < left ? training->batch_size : left;
    *losses++ = batch_gradient(*training, order + start, size);
    training->step++;
    if (training->optimiser == ADAM)
      adam(weights, training->mean, training->square, gradient, training->learning_rate, training->step);
    else
      sgd(weights, gradient, training->learning_rate);
  }
}

// The gradient [PARAMETERS] of one batch; returns its loss.
float bsr_gradient(const Training *training, const int64_t *order, int64_t count, float *gradient) {
  const float loss = batch_gradient(*training, order, count);
  const float *const found = reinterpret_cast<const float *>(&training->work->gradient);
  for (int i = 0; i < PARAMETERS; i++) gradient[i] = found[i];
  return loss;
}

// predictions [count] for images [count][PIXELS].
void bsr_predict(const Training *training, const uint8_t *images, int64_t count, float *predictions) {
  for (int64_t start = 0; start < count; start += LANES) {
    load(images, nullptr, nullptr, start, count, *training->work);
    const Lanes value = forward(*training->weights, *training->work);
    for (int lane = 0; lane < LANES && start + lane < count; lane++) predictions[start + lane] = value[lane];
  }
}

// Fused multiply-adds in as many independent chains as keep every unit busy; returns how many floating-point
// operations that were. They end in `result`, so that the compiler cannot leave them out, and begin with
// different values, so that it cannot merge them.
double bsr_multiply_add(int64_t rounds, float factor, float *result) {
  constexpr int CHAINS = REGISTERS == 32 ? 24 : 12;
  Lanes chain[CHAINS];
  UNROLL
  for (int i = 0; i < CHAINS; i++) chain[i] = Lanes{} + factor * i;
  for (int64_t round = 0; round < rounds; round++)
    UNROLL
    for (int i = 0; i < CHAINS; i++) chain[i] = chain[i] * factor + 1.0f;
  for (int i = 0; i < CHAINS; i++) *result += chain[i][0];
  return 2.0 * CHAINS * LANES * rounds;
}
}
