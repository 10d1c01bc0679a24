// The study's network on one core: forward, backward, Adam or SGD, in float32.
//
// Batch in lanes: a vector register holds the same number of as many images as it has lanes, so that every
// convolution is a plain loop of fused multiply-adds without shuffles, whatever the kernel's size. One block of
// LANES images goes forward and backward before the next begins; all that it touches stays in the second-level
// cache. Images that a block lacks at the end of a batch are filled up and carry no gradient.
//
// Compiled on first use by bsr.engines.build with GCC or Clang, for the machine at hand; needs no header but
// <stdint.h>. Vector types are the compilers' own, so the width follows the target.

#include <stdint.h>

#if defined(__AVX512F__)
constexpr int LANES = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int LANES = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int LANES = 4, REGISTERS = 32;
#else
constexpr int LANES = 4, REGISTERS = 16;
#endif

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));
typedef float UnalignedLanes __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));
typedef int32_t LaneIntegers __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef uint8_t LaneBytes __attribute__((vector_size(LANES)));
typedef uint8_t UnalignedLaneBytes __attribute__((vector_size(LANES), aligned(1)));

// The network (bsr.model.RegressionCNN). Each convolution is followed by 2x2 max pooling, then ReLU.
constexpr int IMAGE = 28, KERNEL = 5, POOL = 2, HIDDEN = 50;
constexpr int CHANNELS1 = 10, CONVOLVED1 = IMAGE - KERNEL + 1, POOLED1 = CONVOLVED1 / POOL;
constexpr int CHANNELS2 = 20, CONVOLVED2 = POOLED1 - KERNEL + 1, POOLED2 = CONVOLVED2 / POOL;
constexpr int PATCH = KERNEL + POOL - 1;  // side of the pixels that one pooled value depends on
constexpr int PIXELS = IMAGE * IMAGE, FEATURES = CHANNELS2 * POOLED2 * POOLED2;

template <class Number>
struct Convolutions {
  Number weight1[CHANNELS1][1][KERNEL][KERNEL], bias1[CHANNELS1];
  Number weight2[CHANNELS2][CHANNELS1][KERNEL][KERNEL], bias2[CHANNELS2];
};
template <class Number>
struct Output {
  Number hidden_bias[HIDDEN], weight[HIDDEN], bias[1];
};
// The order of RegressionCNN.parameters(), flat.
struct Parameters {
  Convolutions<float> convolutions;
  float hidden_weight[HIDDEN][FEATURES];
  Output<float> output;
};
constexpr int PARAMETERS = sizeof(Parameters) / sizeof(float);
static_assert(PARAMETERS == 21381, "the study's network has 21,381 parameters");
static_assert(PIXELS % LANES == 0 && FEATURES % LANES == 0, "images and features are transposed in square tiles");

// Which corner of a 2x2 window was its maximum, 2 * row + column; DEAD where ReLU stopped it.
typedef LaneIntegers Winner;
constexpr int DEAD = 4;

struct Workspace {
  Lanes image[1][IMAGE][IMAGE];
  Lanes hidden1[CHANNELS1][POOLED1][POOLED1], hidden2[CHANNELS2][POOLED2][POOLED2], hidden3[HIDDEN];
  Winner winner1[CHANNELS1][POOLED1][POOLED1], winner2[CHANNELS2][POOLED2][POOLED2];
  Lanes gradient3[HIDDEN], gradient2[CHANNELS2][POOLED2][POOLED2];
  Lanes unpooled2[CHANNELS2][CONVOLVED2][CONVOLVED2];
  Lanes gradient1[POOLED1][POOLED1];  // of one channel at a time
  LaneIntegers unused;
  // hidden2 with images as rows: the gradient of the largest layer has its lanes over the features
  alignas(Lanes) float features[LANES][FEATURES];
  // the other gradients are kept per lane over a batch and added up once at its end
  Convolutions<Lanes> lane_convolutions;
  Output<Lanes> lane_output;
  alignas(Lanes) Parameters gradient;
};

enum Loss { MSE = 0, MAE = 1 };
enum Optimiser { SGD = 0, ADAM = 1 };

// ---- lanes --------------------------------------------------------------------------------------------------

template <int... INDEX>
struct Indices {};
template <int COUNT, int... REST>
struct UpTo : UpTo<COUNT - 1, COUNT - 1, REST...> {};
template <int... INDEX>
struct UpTo<0, INDEX...> {
  typedef Indices<INDEX...> Type;
};

// a0 b0 a1 b1 ... of the lower halves (start 0) or the upper halves (start LANES / 2).
template <int START, class Vector, int... INDEX>
INLINE Vector interleaved(Vector a, Vector b, Indices<INDEX...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (START + INDEX / 2 + INDEX % 2 * LANES)...);
#else
  return __builtin_shuffle(a, b, decltype(a == b){(START + INDEX / 2 + INDEX % 2 * LANES)...});
#endif
}
template <class Vector>
INLINE Vector interleaved_low(Vector a, Vector b) {
  return interleaved<0>(a, b, typename UpTo<LANES>::Type());
}
template <class Vector>
INLINE Vector interleaved_high(Vector a, Vector b) {
  return interleaved<LANES / 2>(a, b, typename UpTo<LANES>::Type());
}

// Rows become columns: each round interleaves the first half of the rows with the second.
template <class Vector, int ROUND = LANES>
INLINE void transpose(Vector (&rows)[LANES]) {
  if constexpr (ROUND > 1) {
    Vector next[LANES];
    UNROLL
    for (int i = 0; i < LANES / 2; i++) {
      next[2 * i] = interleaved_low(rows[i], rows[i + LANES / 2]);
      next[2 * i + 1] = interleaved_high(rows[i], rows[i + LANES / 2]);
    }
    UNROLL
    for (int i = 0; i < LANES; i++) rows[i] = next[i];
    transpose<Vector, ROUND / 2>(rows);
  }
}

// Lane i of the result is the sum over the lanes of rows[i]: a transposition that adds on its way.
template <int COUNT>
INLINE Lanes sums(const Lanes (&rows)[COUNT]) {
  if constexpr (COUNT == 1) {
    return rows[0];
  } else {
    Lanes next[COUNT / 2];
    UNROLL
    for (int i = 0; i < COUNT / 2; i++) {
      next[i] = interleaved_low(rows[i], rows[i + COUNT / 2]) + interleaved_high(rows[i], rows[i + COUNT / 2]);
    }
    return sums(next);
  }
}

INLINE Lanes relu(Lanes value) { return value <= 0.0f ? Lanes{} : value; }  // as PyTorch's, NaN stays NaN

// ---- forward ------------------------------------------------------------------------------------------------

// Whether `candidate` replaces `best` in a maximum: as in PyTorch the first of equals stays, and NaN wins.
INLINE LaneIntegers keeps(Lanes best, Lanes candidate) { return ~(candidate > best) & (candidate == candidate); }

INLINE void pool(const Lanes (&window)[POOL][POOL], Lanes &hidden, Winner &winner) {
  const LaneIntegers left0 = keeps(window[0][0], window[0][1]), left1 = keeps(window[1][0], window[1][1]);
  const Lanes best0 = left0 ? window[0][0] : window[0][1], best1 = left1 ? window[1][0] : window[1][1];
  const LaneIntegers upper = keeps(best0, best1);
  const Lanes best = upper ? best0 : best1;
  const LaneIntegers zero = {};
  const LaneIntegers corner = upper ? (left0 ? zero : zero + 1) : (left1 ? zero + 2 : zero + 3);
  winner = best > 0.0f ? corner : zero + DEAD;
  hidden = relu(best);
}

// Convolution, pooling and ReLU in one: the convolved values of one window never leave the registers.
template <int INPUTS, int OUTPUTS, int SIDE, int WINDOWS>
static void convolve(const Lanes (&input)[INPUTS][SIDE][SIDE], const float (&weight)[OUTPUTS][INPUTS][KERNEL][KERNEL],
                     const float (&bias)[OUTPUTS], Lanes (&hidden)[OUTPUTS][WINDOWS][WINDOWS],
                     Winner (&winner)[OUTPUTS][WINDOWS][WINDOWS]) {
  constexpr int TOGETHER = REGISTERS == 32 ? 5 : 2;  // channels; times 4 sums each, beside inputs
  static_assert(OUTPUTS % TOGETHER == 0, "channels are convolved in equal groups");
  for (int first = 0; first < OUTPUTS; first += TOGETHER)
    for (int row = 0; row < WINDOWS; row++)
      for (int column = 0; column < WINDOWS; column++) {
        Lanes sum[TOGETHER][POOL][POOL];
        UNROLL
        for (int i = 0; i < TOGETHER; i++)
          UNROLL
          for (int corner = 0; corner < POOL * POOL; corner++)
            sum[i][corner / POOL][corner % POOL] = Lanes{} + bias[first + i];
        for (int channel = 0; channel < INPUTS; channel++)
          for (int y = 0; y < KERNEL; y++) {
            const Lanes(*rows)[SIDE] = &input[channel][POOL * row + y];
            UNROLL
            for (int x = 0; x < KERNEL; x++)
              UNROLL
              for (int i = 0; i < TOGETHER; i++)
                UNROLL
                for (int corner = 0; corner < POOL * POOL; corner++)
                  sum[i][corner / POOL][corner % POOL] +=
                      weight[first + i][channel][y][x] * rows[corner / POOL][POOL * column + x + corner % POOL];
          }
        UNROLL
        for (int i = 0; i < TOGETHER; i++)
          pool(sum[i], hidden[first + i][row][column], winner[first + i][row][column]);
      }
}

// One fully connected layer: weight [OUTPUTS][INPUTS], TOGETHER outputs in registers.
template <int TOGETHER, int INPUTS, int OUTPUTS>
static void connect(const Lanes *input, const float (&weight)[OUTPUTS][INPUTS], const float (&bias)[OUTPUTS],
                    Lanes *output) {
  static_assert(OUTPUTS % TOGETHER == 0, "outputs are computed in equal groups");
  for (int first = 0; first < OUTPUTS; first += TOGETHER) {
    Lanes sum[TOGETHER];
    UNROLL
    for (int i = 0; i < TOGETHER; i++) sum[i] = Lanes{} + bias[first + i];
    for (int k = 0; k < INPUTS; k++)
      UNROLL
      for (int i = 0; i < TOGETHER; i++) sum[i] += weight[first + i][k] * input[k];
    UNROLL
    for (int i = 0; i < TOGETHER; i++) output[first + i] = sum[i];
  }
}

// images [n][PIXELS] of the block's lanes as float, images in the lanes.
static void load(const uint8_t *const (&images)[LANES], Lanes *pixels) {
  for (int first = 0; first < PIXELS; first += LANES) {
    LaneBytes tile[LANES];
    UNROLL
    for (int lane = 0; lane < LANES; lane++)
      tile[lane] = *reinterpret_cast<const UnalignedLaneBytes *>(images[lane] + first);
    transpose(tile);
    UNROLL
    for (int i = 0; i < LANES; i++)  // by way of integers, which GCC widens in one instruction
      pixels[first + i] = __builtin_convertvector(__builtin_convertvector(tile[i], LaneIntegers), Lanes);
  }
}

static Lanes forward(const Parameters &weights, Workspace &work) {
  const Convolutions<float> &convolutions = weights.convolutions;
  convolve(work.image, convolutions.weight1, convolutions.bias1, work.hidden1, work.winner1);
  convolve(work.hidden1, convolutions.weight2, convolutions.bias2, work.hidden2, work.winner2);
  connect<10>(&work.hidden2[0][0][0], weights.hidden_weight, weights.output.hidden_bias, work.hidden3);
  for (int i = 0; i < HIDDEN; i++) work.hidden3[i] = relu(work.hidden3[i]);
  Lanes prediction = Lanes{} + weights.output.bias[0];
  for (int i = 0; i < HIDDEN; i++) prediction += weights.output.weight[i] * work.hidden3[i];
  return prediction;
}

// ---- backward -----------------------------------------------------------------------------------------------
// `first` says that the block is the batch's first: gradients are stored, not added to those before.

INLINE void accumulate(Lanes &total, Lanes value, bool first) { total = first ? value : total + value; }

static void output_backward(const Parameters &weights, Workspace &work, Lanes gradient, bool first) {
  accumulate(work.lane_output.bias[0], gradient, first);
  for (int i = 0; i < HIDDEN; i++) {
    accumulate(work.lane_output.weight[i], gradient * work.hidden3[i], first);
    work.gradient3[i] = work.hidden3[i] > 0.0f ? weights.output.weight[i] * gradient : Lanes{};
    accumulate(work.lane_output.hidden_bias[i], work.gradient3[i], first);
  }
}

// The weights' gradient of the hidden layer, [HIDDEN][FEATURES]: here the lanes are features, because 16,000
// gradients per lane would leave the cache.
static void hidden_weight_backward(Workspace &work, bool first) {
  const Lanes *const hidden2 = &work.hidden2[0][0][0];
  for (int feature = 0; feature < FEATURES; feature += LANES) {
    Lanes image[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++) image[i] = hidden2[feature + i];
    transpose(image);
    for (int j = 0; j < HIDDEN; j++) {
      Lanes &total = *reinterpret_cast<Lanes *>(&work.gradient.hidden_weight[j][feature]);
      Lanes sum = first ? Lanes{} : total;
      UNROLL
      for (int i = 0; i < LANES; i++) sum += work.gradient3[j][i] * image[i];
      total = sum;
    }
  }
}

static void hidden_input_backward(const Parameters &weights, Workspace &work) {
  constexpr int TOGETHER = REGISTERS == 32 ? 20 : 10;
  static_assert(FEATURES % TOGETHER == 0, "features are handled in equal groups");
  Lanes *const gradient2 = &work.gradient2[0][0][0];
  for (int feature = 0; feature < FEATURES; feature += TOGETHER) {
    Lanes sum[TOGETHER] = {};
    for (int j = 0; j < HIDDEN; j++)
      UNROLL
      for (int i = 0; i < TOGETHER; i++) sum[i] += weights.hidden_weight[j][feature + i] * work.gradient3[j];
    UNROLL
    for (int i = 0; i < TOGETHER; i++) gradient2[feature + i] = sum[i];
  }
}

// Back through ReLU and pooling: a window's gradient goes to its winner alone.
static void unpool2(Workspace &work, bool first) {
  for (int channel = 0; channel < CHANNELS2; channel++) {
    Lanes bias = {};
    for (int row = 0; row < POOLED2; row++)
      for (int column = 0; column < POOLED2; column++) {
        const Lanes gradient = work.gradient2[channel][row][column];
        const Winner winner = work.winner2[channel][row][column];
        for (int corner = 0; corner < POOL * POOL; corner++)
          work.unpooled2[channel][POOL * row + corner / POOL][POOL * column + corner % POOL] =
              winner == corner ? gradient : Lanes{};
        bias += winner == DEAD ? Lanes{} : gradient;
      }
    accumulate(work.lane_convolutions.bias2[channel], bias, first);
  }
}

static void weight2_backward(Workspace &work, bool first) {
  constexpr int TOGETHER = REGISTERS == 32 ? 4 : 2;  // channels; times KERNEL sums each
  static_assert(CHANNELS2 % TOGETHER == 0, "channels are handled in equal groups");
  for (int group = 0; group < CHANNELS2; group += TOGETHER)
    for (int channel = 0; channel < CHANNELS1; channel++)
      for (int y = 0; y < KERNEL; y++) {
        Lanes sum[TOGETHER][KERNEL] = {};
        for (int row = 0; row < CONVOLVED2; row++) {
          const Lanes *const input = work.hidden1[channel][row + y];
          UNROLL
          for (int column = 0; column < CONVOLVED2; column++)
            UNROLL
            for (int i = 0; i < TOGETHER; i++)
              UNROLL
              for (int x = 0; x < KERNEL; x++)
                sum[i][x] += work.unpooled2[group + i][row][column] * input[column + x];
        }
        UNROLL
        for (int i = 0; i < TOGETHER; i++)
          UNROLL
          for (int x = 0; x < KERNEL; x++)
            accumulate(work.lane_convolutions.weight2[group + i][channel][y][x], sum[i][x], first);
      }
}

// The gradient of one channel of hidden1: every row of it is KERNEL shifted rows of every channel above.
static void input2_backward(const Parameters &weights, Workspace &work, int channel) {
  for (int row = 0; row < POOLED1; row++) {
    Lanes sum[POOLED1] = {};
    const int lowest = row < CONVOLVED2 ? 0 : row - CONVOLVED2 + 1, highest = row < KERNEL ? row : KERNEL - 1;
    for (int above = 0; above < CHANNELS2; above++)
      for (int y = lowest; y <= highest; y++) {
        const float(&weight)[KERNEL] = weights.convolutions.weight2[above][channel][y];
        UNROLL
        for (int column = 0; column < CONVOLVED2; column++)
          UNROLL
          for (int x = 0; x < KERNEL; x++) sum[column + x] += weight[x] * work.unpooled2[above][row - y][column];
      }
    UNROLL
    for (int column = 0; column < POOLED1; column++) work.gradient1[row][column] = sum[column];
  }
}

// The gradient of one channel's kernel, all KERNEL * KERNEL sums in registers.
static void weight1_backward(Workspace &work, int channel, bool first) {
  Lanes sum[KERNEL][KERNEL] = {}, bias = {};
  for (int row = 0; row < POOLED1; row++)
    for (int column = 0; column < POOLED1; column++) {
      const Lanes gradient = work.gradient1[row][column];
      const Winner winner = work.winner1[channel][row][column];
      Lanes share[POOL][POOL];
      UNROLL
      for (int corner = 0; corner < POOL * POOL; corner++)
        share[corner / POOL][corner % POOL] = winner == corner ? gradient : Lanes{};
      bias += winner == DEAD ? Lanes{} : gradient;
      // pixel by pixel of the window's patch, so that each is loaded once: it meets up to four taps
      UNROLL
      for (int pixel = 0; pixel < PATCH * PATCH; pixel++) {
        const int y = pixel / PATCH, x = pixel % PATCH;
        const Lanes value = work.image[0][POOL * row + y][POOL * column + x];
        UNROLL
        for (int corner = 0; corner < POOL * POOL; corner++) {
          const int tap_y = y - corner / POOL, tap_x = x - corner % POOL;
          if (tap_y >= 0 && tap_y < KERNEL && tap_x >= 0 && tap_x < KERNEL)
            sum[tap_y][tap_x] += share[corner / POOL][corner % POOL] * value;
        }
      }
    }
  accumulate(work.lane_convolutions.bias1[channel], bias, first);
  UNROLL
  for (int tap = 0; tap < KERNEL * KERNEL; tap++)
    accumulate(work.lane_convolutions.weight1[channel][0][tap / KERNEL][tap % KERNEL], sum[tap / KERNEL][tap % KERNEL], first);
}

static void backward(const Parameters &weights, Workspace &work, Lanes gradient, bool first) {
  output_backward(weights, work, gradient, first);
  hidden_weight_backward(work, first);
  hidden_input_backward(weights, work);
  unpool2(work, first);
  weight2_backward(work, first);
  for (int channel = 0; channel < CHANNELS1; channel++) {
    input2_backward(weights, work, channel);
    weight1_backward(work, channel, first);
  }
}

// Adds up the lanes of `count` gradients.
static void add_up(const Lanes *lanes, float *gradient, int count) {
  for (int first = 0; first < count; first += LANES) {
    Lanes rows[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++) rows[i] = first + i < count ? lanes[first + i] : Lanes{};
    const Lanes total = sums(rows);
    for (int i = 0; i < LANES && first + i < count; i++) gradient[first + i] = total[i];
  }
}

// ---- a batch ------------------------------------------------------------------------------------------------

// Loads the block of up to LANES images that begins at order[0], and labels where wanted; order null: in a row.
static void gather(const uint8_t *images, const float *labels, const int64_t *order, int64_t start, int64_t end,
                   Workspace &work, Lanes *wanted) {
  const uint8_t *rows[LANES];
  for (int lane = 0; lane < LANES; lane++) {
    const int64_t position = start + lane < end ? start + lane : start;
    const int64_t index = order ? order[position] : position;
    rows[lane] = images + index * PIXELS;
    work.unused[lane] = start + lane < end ? 0 : -1;
    if (labels) (*wanted)[lane] = labels[index];
  }
  load(rows, &work.image[0][0][0]);
}

// The gradient of one batch into work.gradient; returns its loss.
static float batch_gradient(const Parameters &weights, Workspace &work, const uint8_t *images, const float *labels,
                            const int64_t *order, int64_t size, Loss loss) {
  double total = 0;
  for (int64_t start = 0; start < size; start += LANES) {
    Lanes label = {};
    gather(images, labels, order, start, size, work, &label);
    const Lanes error = work.unused ? Lanes{} : forward(weights, work) - label;
    const Lanes sign = error > 0.0f ? Lanes{} + 1.0f : (error < 0.0f ? Lanes{} - 1.0f : Lanes{});
    const Lanes each = loss == MSE ? error * error : error * sign;
    for (int lane = 0; lane < LANES; lane++) total += each[lane];
    backward(weights, work, (loss == MSE ? 2.0f * error : sign) / static_cast<float>(size), start == 0);
  }
  add_up(&work.lane_convolutions.weight1[0][0][0][0], &work.gradient.convolutions.weight1[0][0][0][0],
         sizeof(Convolutions<float>) / sizeof(float));
  add_up(work.lane_output.hidden_bias, work.gradient.output.hidden_bias, sizeof(Output<float>) / sizeof(float));
  return static_cast<float>(total / size);
}

// PyTorch's Adam with its defaults; `step` counts from 1.
static void adam(float *__restrict weights, float *__restrict mean, float *__restrict square,
                 const float *__restrict gradient, double rate, int64_t step) {
  constexpr double BETA1 = 0.9, BETA2 = 0.999;
  constexpr float EPSILON = 1e-8f, NEW1 = 1 - BETA1, OLD2 = BETA2, NEW2 = 1 - BETA2;
  const float size = rate / (1 - __builtin_pow(BETA1, step));
  const float scale = 1 / __builtin_sqrt(1 - __builtin_pow(BETA2, step));
  for (int i = 0; i < PARAMETERS; i++) {
    mean[i] += (gradient[i] - mean[i]) * NEW1;
    square[i] = OLD2 * square[i] + NEW2 * gradient[i] * gradient[i];
    weights[i] -= size * mean[i] / (__builtin_sqrtf(square[i]) * scale + EPSILON);
  }
}

static void sgd(float *__restrict weights, const float *__restrict gradient, double rate) {
  for (int i = 0; i < PARAMETERS; i++) weights[i] -= static_cast<float>(rate) * gradient[i];
}

// ---- what Python calls --------------------------------------------------------------------------------------

extern "C" {

int bsr_lanes() { return LANES; }
int64_t bsr_workspace_bytes() { return sizeof(Workspace); }

float bsr_gradient(const Parameters *weights, Workspace *work, const uint8_t *images, const float *labels,
                   const int64_t *order, int64_t size, int loss, float *gradient) {
  const float value = batch_gradient(*weights, *work, images, labels, order, size, static_cast<Loss>(loss));
  for (int i = 0; i < PARAMETERS; i++) gradient[i] = reinterpret_cast<const float *>(&work->gradient)[i];
  return value;
}

void bsr_train(Parameters *weights, float *mean, float *square, Workspace *work, const uint8_t *images,
               const float *labels, const int64_t *order, int64_t count, int64_t batch_size, int loss, int optimiser,
               double rate, int64_t step, float *losses) {
  for (int64_t start = 0; start < count; start += batch_size) {
    const int64_t size = batch_size < count - start ? batch_size : count - start;
    *losses++ = batch_gradient(*weights, *work, images, labels, order + start, size, static_cast<Loss>(loss));
    const float *const gradient = reinterpret_cast<const float *>(&work->gradient);
    float *const flat = reinterpret_cast<float *>(weights);
    if (optimiser == ADAM)
      adam(flat, mean, square, gradient, rate, ++step);
    else
      sgd(flat, gradient, rate);
  }
}

void bsr_predict(const Parameters *weights, Workspace *work, const uint8_t *images, int64_t count, float *predictions) {
  for (int64_t start = 0; start < count; start += LANES) {
    gather(images, nullptr, nullptr, start, count, *work, nullptr);
    const Lanes prediction = forward(*weights, *work);
    for (int lane = 0; lane < LANES && start + lane < count; lane++) predictions[start + lane] = prediction[lane];
  }
}

// Independent chains of fused multiply-adds, enough to fill every unit; returns how many floating-point
// operations that were. `result` keeps the compiler from leaving them out.
double bsr_multiply_add(int64_t rounds, float factor, float *result) {
  constexpr int CHAINS = REGISTERS == 32 ? 24 : 12;
  Lanes value[CHAINS];
  for (int chain = 0; chain < CHAINS; chain++) value[chain] = Lanes{} + factor * chain;  // alike, they would merge
  for (int64_t i = 0; i < rounds; i++)
    UNROLL
    for (int chain = 0; chain < CHAINS; chain++) value[chain] = value[chain] * factor + 1.0f;
  *result = 0;
  for (int chain = 0; chain < CHAINS; chain++) *result += value[chain][0];
  return 2.0 * CHAINS * LANES * rounds;
}
}
