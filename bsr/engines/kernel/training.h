// Training a network on one core, in float32, with Adam or SGD; bsr.engines.native calls it.
//
// A network is a chain of layers, named by the generated source that includes this: `Network` is what follows
// the images, `Input` the layer that takes them in. A block of LANES images goes forward and backward before the
// next begins, and all that it touches stays in the second-level cache if that is large enough. Lanes left empty
// by the last block of a batch repeat an image, without gradient.

#pragma once
#include "convolution.h"
#include "elementwise.h"
#include "image.h"
#include "linear.h"

template <class Layer, class... Rest>
struct Chain {
  typedef Chain<Rest...> Next;
  struct Work {
    typename Layer::Work here;
    typename Next::Work next;
  };
  static void begin(const float *weights, Work &work) {
    Layer::begin(weights, work.here);
    Next::begin(weights, work.next);
  }
  template <class Input>
  static Lanes forward(const Input &input, const float *weights, Work &work, const Draws &draws) {
    Layer::forward(input, weights, work.here, draws);
    return Next::forward(work.here.out, weights, work.next, draws);
  }
  // `gradient` is that of the prediction.
  template <class Input, class InputGradient>
  static void backward(const Input &input, InputGradient *input_gradient, const float *weights, Work &work,
                       Lanes gradient) {
    Next::backward(work.here.out, &work.here.gradient, weights, work.next, gradient);
    Layer::backward(input, input_gradient, weights, work.here);
  }
  template <class Update>
  static void finish(Work &work, const Update &update) {
    Layer::finish(work.here, update);
    Next::finish(work.next, update);
  }
};

// What follows the last layer: the prediction.
struct End {};
template <>
struct Chain<End> {
  struct Work {};
  typedef Lanes One[1][1][1];
  static void begin(const float *, Work &) {}
  static Lanes forward(const One &prediction, const float *, Work &, const Draws &) {
    return prediction[0][0][0];
  }
  static void backward(const One &, One *prediction, const float *, Work &, Lanes gradient) {
    (*prediction)[0][0][0] = gradient;
  }
  template <class Update>
  static void finish(Work &, const Update &) {}
};

enum Loss { MSE = 0, MAE = 1 };
enum Optimiser { SGD = 0, ADAM = 1 };

// ---- Mirrored by bsr.engines.native. ----------------------------------------------------------------------

struct Training {
  float *weights, *mean, *square;  // the parameters, Adam's moments, [parameters]
  void *work;                      // aligned to Lanes, zero at first
  const void *images;              // [n][pixels], bytes or floats as the network was generated for
  const float *labels;             // [n]
  int64_t batch_size, step, drawn;  // drawn: images that dropout has drawn for
  uint64_t seed;
  double beta1, beta2, epsilon;  // Adam's
  int32_t loss, optimiser, dropping;
};

// ---- what is made of a batch's gradient, part by part ------------------------------------------------------

// PyTorch's Adam; training.step counts from 1. Moments too small to move a weight become 0: those of dead
// units would stay subnormal for ever, and arithmetic on them takes a hundred times as long.
struct Adam {
  float *weights, *mean, *square;
  float new1, old2, new2, size, epsilon, scale;
  Adam(const Training &training, double rate)
      : weights(training.weights),
        mean(training.mean),
        square(training.square),
        new1(1 - training.beta1),
        old2(training.beta2),
        new2(1 - training.beta2),
        size(rate / (1 - __builtin_pow(training.beta1, training.step))),
        epsilon(training.epsilon),
        scale(1 / __builtin_sqrt(1 - __builtin_pow(training.beta2, training.step))) {}

  template <class Count>
  INLINE_THIS void update(int at, const float *__restrict gradient, Count count) const {
    constexpr float NORMAL = __FLT_MIN__;
    float *__restrict const weight = weights + at, *__restrict const first = mean + at;
    float *__restrict const second = square + at;
    for (int i = 0; i < count; i++) {
      const float slope = gradient[i], moment = first[i] + (slope - first[i]) * new1;
      const float squared = old2 * second[i] + new2 * slope * slope;
      first[i] = ((slope == 0) & (__builtin_fabsf(moment) < NORMAL)) ? 0 : moment;
      second[i] = squared < NORMAL ? 0 : squared;
      weight[i] -= size * first[i] / (__builtin_sqrtf(second[i]) * scale + epsilon);
    }
  }
  void operator()(int at, const float *gradient, int count) const { update(at, gradient, count); }
  struct Register {
    constexpr operator int() const { return LANES; }
  };
  INLINE_THIS void lanes(int at, const float *gradient) const { update(at, gradient, Register()); }
};

struct Sgd {
  float *weights, rate;
  void operator()(int at, const float *gradient, int count) const {
    for (int i = 0; i < count; i++) weights[at + i] -= rate * gradient[i];
  }
  void lanes(int at, const float *gradient) const { (*this)(at, gradient, LANES); }
};

struct Copy {
  float *gradients;
  void operator()(int at, const float *gradient, int count) const {
    for (int i = 0; i < count; i++) gradients[at + i] = gradient[i];
  }
  void lanes(int at, const float *gradient) const { (*this)(at, gradient, LANES); }
};

// ---- a batch ----------------------------------------------------------------------------------------------

template <class Input, class Network>
struct Trainer {
  typedef typename Input::Pixel Pixel;
  static constexpr int PIXELS = Input::PIXELS;
  struct Work {
    typename Input::Work input;
    typename Network::Work layers;
    Lanes label;
    LaneIntegers unused;  // -1 in the lanes that repeat an image
  };
  static Work &work_of(const Training &training) { return *static_cast<Work *>(training.work); }

  // Loads the block order[start], ..., at most to order[end - 1], with its labels; order null: 0, 1, 2, ...
  static void load(const Pixel *images, const float *labels, const int64_t *order, int64_t start, int64_t end,
                   Work &work) {
    const Pixel *rows[LANES];
    for (int lane = 0; lane < LANES; lane++) {
      const bool used = start + lane < end;
      const int64_t position = used ? start + lane : start, index = order ? order[position] : position;
      rows[lane] = images + index * PIXELS;
      work.unused[lane] = used ? 0 : -1;
      work.label[lane] = labels ? labels[index] : 0;
    }
    Input::load(rows, work.input);
  }

  // Begins to fetch the block order[start], ..., at most to order[end - 1]: its images lie anywhere in memory.
  static void prefetch(const Pixel *images, const int64_t *order, int64_t start, int64_t end) {
    constexpr int CACHE_LINE = 64 / sizeof(Pixel);
    for (int64_t position = start; position < end && position < start + LANES; position++)
      for (int pixel = 0; pixel < PIXELS; pixel += CACHE_LINE)
        __builtin_prefetch(images + order[position] * PIXELS + pixel);
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

  // The gradient of the batch order[0], ..., order[size - 1], for `finish`; returns its mean loss. The order is
  // `known` beyond the batch, so that the images of the next are fetched while these are computed.
  static float batch_gradient(Training &training, const int64_t *order, int64_t size, int64_t known) {
    Work &work = work_of(training);
    const Pixel *const images = static_cast<const Pixel *>(training.images);
    double total = 0;
    Network::begin(training.weights, work.layers);
    for (int64_t start = 0; start < size; start += LANES) {
      load(images, training.labels, order, start, size, work);
      prefetch(images, order, start + LANES < size ? start + LANES : size, known);
      const Lanes predicted =
          Network::forward(work.input.out, training.weights, work.layers, draws(training, start));
      const Lanes error = work.unused ? Lanes{} : predicted - work.label;
      const Lanes sign = error > 0.0f ? Lanes{} + 1.0f : (error < 0.0f ? Lanes{} - 1.0f : Lanes{});
      const bool squared = training.loss == MSE;
      const Lanes each = error * (squared ? error : sign), slope = squared ? error + error : sign;
      for (int lane = 0; lane < LANES; lane++) total += each[lane];
      typename Input::Gradient *const none = nullptr;
      Network::backward(work.input.out, none, training.weights, work.layers, slope / static_cast<float>(size));
    }
    training.drawn += size;
    return static_cast<float>(total / size);
  }

  // One step per batch_size images of order [count], at rates [steps]; losses [steps] are those before each.
  static void train(Training &training, const int64_t *order, int64_t count, const double *rates, float *losses) {
    for (int64_t start = 0; start < count; start += training.batch_size) {
      const int64_t left = count - start, size = training.batch_size < left ? training.batch_size : left;
      *losses++ = batch_gradient(training, order + start, size, left);
      training.step++;
      if (training.optimiser == ADAM)
        Network::finish(work_of(training).layers, Adam(training, *rates++));
      else
        Network::finish(work_of(training).layers, Sgd{training.weights, static_cast<float>(*rates++)});
    }
  }

  // The gradient [parameters] of one batch, where there is one; returns its loss.
  static float gradient(Training &training, const int64_t *order, int64_t count, float *gradient) {
    const float loss = batch_gradient(training, order, count, count);
    Network::finish(work_of(training).layers, Copy{gradient});
    return loss;
  }

  // predictions [count] for images [count][PIXELS].
  static void predict(const Training &training, const void *images, int64_t count, float *predictions) {
    Work &work = work_of(training);
    Draws draws = {};
    for (int64_t start = 0; start < count; start += LANES) {
      load(static_cast<const Pixel *>(images), nullptr, nullptr, start, count, work);
      const Lanes value = Network::forward(work.input.out, training.weights, work.layers, draws);
      for (int lane = 0; lane < LANES && start + lane < count; lane++) predictions[start + lane] = value[lane];
    }
  }
};

// ---- what Python calls ------------------------------------------------------------------------------------

#define BSR_NETWORK(INPUT, NETWORK)                                                                            \
  typedef Trainer<INPUT, NETWORK> Trained;                                                                     \
  extern "C" {                                                                                                 \
  int64_t bsr_lanes() { return LANES; }                                                                        \
  int64_t bsr_workspace_bytes() { return sizeof(Trained::Work); }                                              \
  void bsr_train(Training *training, const int64_t *order, int64_t count, const double *rates, float *losses) { \
    Trained::train(*training, order, count, rates, losses);                                                    \
  }                                                                                                            \
  float bsr_gradient(Training *training, const int64_t *order, int64_t count, float *gradient) {               \
    return Trained::gradient(*training, order, count, gradient);                                               \
  }                                                                                                            \
  void bsr_predict(const Training *training, const void *images, int64_t count, float *predictions) {          \
    Trained::predict(*training, images, count, predictions);                                                   \
  }                                                                                                            \
  }
