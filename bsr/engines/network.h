// The study's network (bsr.model.RegressionCNN), forward and backward, on one block of images.
//
// Batch in lanes: a vector register holds the same activation of as many images as it has lanes, so that
// convolutions are plain loops of fused multiply-adds, whatever the size of their kernels.

#pragma once
#include "lanes.h"

// Each convolution is followed by 2x2 max pooling, then ReLU.
constexpr int IMAGE = 28, KERNEL = 5, POOL = 2, HIDDEN = 50;
constexpr int CHANNELS1 = 10, CONVOLVED1 = IMAGE - KERNEL + 1, POOLED1 = CONVOLVED1 / POOL;
constexpr int CHANNELS2 = 20, CONVOLVED2 = POOLED1 - KERNEL + 1, POOLED2 = CONVOLVED2 / POOL;
constexpr int PIXELS = IMAGE * IMAGE, TAPS = KERNEL * KERNEL, CORNERS = POOL * POOL;
constexpr int PATCH = KERNEL + POOL - 1;  // side of what one pooled value sees
constexpr int FEATURES = CHANNELS2 * POOLED2 * POOLED2, TILES = FEATURES / LANES;

// The order of RegressionCNN.parameters(), flat.
template <class Number>
struct OutputLayer {
  Number hidden_bias[HIDDEN], weight[HIDDEN], bias;
};
struct Parameters {
  float weight1[CHANNELS1][1][KERNEL][KERNEL], bias1[CHANNELS1];
  float weight2[CHANNELS2][CHANNELS1][KERNEL][KERNEL], bias2[CHANNELS2];
  float hidden_weight[HIDDEN][FEATURES];
  OutputLayer<float> output;
};
constexpr int PARAMETERS = sizeof(Parameters) / sizeof(float);
static_assert(PARAMETERS == 21381, "the study's network has 21,381 parameters");
static_assert(PIXELS % LANES == 0 && FEATURES % LANES == 0, "both are transposed in square tiles");

// Which corner of its window was the maximum, 2 * row + column; DEAD where ReLU stopped it.
typedef LaneIntegers Winner;
constexpr int DEAD = CORNERS;

struct Workspace {
  LaneBytes bytes[PIXELS];
  Lanes image[1][IMAGE][IMAGE];
  Lanes hidden1[CHANNELS1][POOLED1][POOLED1], hidden2[CHANNELS2][POOLED2][POOLED2], hidden3[HIDDEN];
  Winner winner1[CHANNELS1][POOLED1][POOLED1], winner2[CHANNELS2][POOLED2][POOLED2];
  Lanes gradient3[HIDDEN], gradient2[CHANNELS2][POOLED2][POOLED2];
  Lanes unpooled2[CHANNELS2][CONVOLVED2][CONVOLVED2];
  Lanes gradient1[POOLED1][POOLED1];  // of one channel at a time
  Lanes label;
  LaneIntegers unused;  // -1 in the lanes that repeat an image
  alignas(Lanes) Parameters gradient;  // of the batch so far
};

// ---- forward ----------------------------------------------------------------------------------------------

INLINE Lanes relu(Lanes value) { return value <= 0.0f ? Lanes{} : value; }  // NaN stays NaN, as in PyTorch

// Whether `best` remains the maximum: as in PyTorch the first of equals does, and NaN wins.
INLINE LaneIntegers remains(Lanes best, Lanes candidate) {
  return ~(candidate > best) & (candidate == candidate);
}

INLINE void pool(const Lanes (&window)[CORNERS], Lanes &hidden, Winner &winner) {
  const LaneIntegers zero = {};
  const LaneIntegers left0 = remains(window[0], window[1]), left1 = remains(window[2], window[3]);
  const Lanes best0 = left0 ? window[0] : window[1], best1 = left1 ? window[2] : window[3];
  const LaneIntegers upper = remains(best0, best1);
  const Lanes best = upper ? best0 : best1;
  const LaneIntegers dead = best <= 0.0f;
  const LaneIntegers corner = upper ? (left0 ? zero : zero + 1) : (left1 ? zero + 2 : zero + 3);
  winner = dead ? zero + DEAD : corner;
  hidden = dead ? Lanes{} : best;
}

// Convolution, pooling and ReLU in one: the convolved values of a window never leave the registers.
template <int INPUTS, int OUTPUTS, int SIDE, int WINDOWS>
static void convolve(const Lanes (&input)[INPUTS][SIDE][SIDE],
                     const float (&weight)[OUTPUTS][INPUTS][KERNEL][KERNEL], const float (&bias)[OUTPUTS],
                     Lanes (&hidden)[OUTPUTS][WINDOWS][WINDOWS],
                     Winner (&winner)[OUTPUTS][WINDOWS][WINDOWS]) {
  constexpr int TOGETHER = REGISTERS == 32 ? 5 : 2;  // channels, of CORNERS sums each
  static_assert(OUTPUTS % TOGETHER == 0, "channels are convolved in equal groups");
  for (int group = 0; group < OUTPUTS; group += TOGETHER)
    for (int row = 0; row < WINDOWS; row++)
      for (int column = 0; column < WINDOWS; column++) {
        Lanes sum[TOGETHER][CORNERS];
        UNROLL
        for (int i = 0; i < TOGETHER; i++)
          UNROLL
          for (int corner = 0; corner < CORNERS; corner++) sum[i][corner] = Lanes{} + bias[group + i];
        for (int channel = 0; channel < INPUTS; channel++)
          for (int y = 0; y < KERNEL; y++) {
            const Lanes(*const rows)[SIDE] = &input[channel][POOL * row + y];
            UNROLL
            for (int x = 0; x < KERNEL; x++)
              UNROLL
              for (int i = 0; i < TOGETHER; i++)
                UNROLL
                for (int corner = 0; corner < CORNERS; corner++)
                  sum[i][corner] += weight[group + i][channel][y][x] *
                                    rows[corner / POOL][POOL * column + x + corner % POOL];
          }
        UNROLL
        for (int i = 0; i < TOGETHER; i++)
          pool(sum[i], hidden[group + i][row][column], winner[group + i][row][column]);
      }
}

static void connect_hidden(const Parameters &weights, Workspace &work) {
  constexpr int TOGETHER = 10;  // outputs
  static_assert(HIDDEN % TOGETHER == 0, "outputs are computed in equal groups");
  const Lanes *const feature = flat<Lanes>(work.hidden2);
  for (int group = 0; group < HIDDEN; group += TOGETHER) {
    Lanes sum[TOGETHER];
    UNROLL
    for (int i = 0; i < TOGETHER; i++) sum[i] = Lanes{} + weights.output.hidden_bias[group + i];
    for (int k = 0; k < FEATURES; k++)
      UNROLL
      for (int i = 0; i < TOGETHER; i++) sum[i] += weights.hidden_weight[group + i][k] * feature[k];
    UNROLL
    for (int i = 0; i < TOGETHER; i++) work.hidden3[group + i] = relu(sum[i]);
  }
}

// The predictions for work.image.
static Lanes forward(const Parameters &weights, Workspace &work) {
  convolve(work.image, weights.weight1, weights.bias1, work.hidden1, work.winner1);
  convolve(work.hidden1, weights.weight2, weights.bias2, work.hidden2, work.winner2);
  connect_hidden(weights, work);
  Lanes prediction = Lanes{} + weights.output.bias;
  for (int i = 0; i < HIDDEN; i++) prediction += weights.output.weight[i] * work.hidden3[i];
  return prediction;
}

// ---- backward: from the gradient of the predictions into work.gradient ------------------------------------
// `first` says that the block is its batch's first: gradients are stored then, and later added to.

template <int COUNT>
INLINE void accumulate(float *gradient, const float *block, bool first) {
  for (int i = 0; i < COUNT; i++) gradient[i] = first ? block[i] : gradient[i] + block[i];
}

static void output_backward(const Parameters &weights, Workspace &work, Lanes gradient, bool first) {
  constexpr int COUNT = sizeof(OutputLayer<float>) / sizeof(float);
  OutputLayer<Lanes> layer;
  layer.bias = gradient;
  for (int i = 0; i < HIDDEN; i++) {
    layer.weight[i] = gradient * work.hidden3[i];
    layer.hidden_bias[i] = work.hidden3[i] > 0.0f ? weights.output.weight[i] * gradient : Lanes{};
    work.gradient3[i] = layer.hidden_bias[i];
  }
  float total[COUNT];
  sum_lanes<COUNT>(flat<Lanes>(layer), total);
  accumulate<COUNT>(flat<float>(work.gradient.output), total, first);
}

// The largest layer's weights. Here the lanes are features, and the multiply-adds sum over the images.
static void hidden_weight_backward(Workspace &work, bool first) {
  Lanes features[LANES][TILES];
  for (int tile = 0; tile < TILES; tile++) {
    Lanes image[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++) image[i] = flat<Lanes>(work.hidden2)[tile * LANES + i];
    transpose(image);
    UNROLL
    for (int i = 0; i < LANES; i++) features[i][tile] = image[i];
  }
  for (int j = 0; j < HIDDEN; j++) {
    Lanes gradient[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++) gradient[i] = Lanes{} + work.gradient3[j][i];
    for (int tile = 0; tile < TILES; tile++) {
      Lanes &total = flat<Lanes>(work.gradient.hidden_weight[j])[tile];
      Lanes sum = first ? Lanes{} : total;
      UNROLL
      for (int i = 0; i < LANES; i++) sum += gradient[i] * features[i][tile];
      total = sum;
    }
  }
}

static void hidden_input_backward(const Parameters &weights, Workspace &work) {
  constexpr int TOGETHER = REGISTERS == 32 ? 20 : 10;  // features
  static_assert(FEATURES % TOGETHER == 0, "features are handled in equal groups");
  Lanes *const gradient2 = flat<Lanes>(work.gradient2);
  for (int group = 0; group < FEATURES; group += TOGETHER) {
    Lanes sum[TOGETHER] = {};
    for (int j = 0; j < HIDDEN; j++)
      UNROLL
      for (int i = 0; i < TOGETHER; i++) sum[i] += weights.hidden_weight[j][group + i] * work.gradient3[j];
    UNROLL
    for (int i = 0; i < TOGETHER; i++) gradient2[group + i] = sum[i];
  }
}

// Back through ReLU and pooling, one row of windows: a window's gradient goes to its winner alone. Returns
// what the row adds to the gradient of the bias.
template <int WINDOWS>
INLINE Lanes unpool(const Lanes (&gradient)[WINDOWS], const Winner (&winner)[WINDOWS],
                    Lanes (*unpooled)[POOL * WINDOWS]) {
  Lanes bias = {};
  for (int column = 0; column < WINDOWS; column++) {
    UNROLL
    for (int corner = 0; corner < CORNERS; corner++)
      unpooled[corner / POOL][POOL * column + corner % POOL] =
          winner[column] == corner ? gradient[column] : Lanes{};
    bias = winner[column] == DEAD ? bias : bias + gradient[column];
  }
  return bias;
}

static void unpool2(Workspace &work, bool first) {
  Lanes bias[CHANNELS2] = {};
  for (int channel = 0; channel < CHANNELS2; channel++)
    for (int row = 0; row < POOLED2; row++)
      bias[channel] += unpool(work.gradient2[channel][row], work.winner2[channel][row],
                              &work.unpooled2[channel][POOL * row]);
  float total[CHANNELS2];
  sum_lanes<CHANNELS2>(bias, total);
  accumulate<CHANNELS2>(work.gradient.bias2, total, first);
}

static void weight2_backward(Workspace &work, bool first) {
  constexpr int TOGETHER = REGISTERS == 32 ? 4 : 2;  // channels, of KERNEL sums each
  static_assert(CHANNELS2 % TOGETHER == 0, "channels are handled in equal groups");
  for (int group = 0; group < CHANNELS2; group += TOGETHER)
    for (int channel = 0; channel < CHANNELS1; channel++)
      for (int y = 0; y < KERNEL; y++) {
        Lanes sum[TOGETHER][KERNEL] = {};
        for (int row = 0; row < CONVOLVED2; row++)
          UNROLL
          for (int column = 0; column < CONVOLVED2; column++)
            UNROLL
            for (int i = 0; i < TOGETHER; i++)
              UNROLL
              for (int x = 0; x < KERNEL; x++)
                sum[i][x] += work.unpooled2[group + i][row][column] *
                             work.hidden1[channel][row + y][column + x];
        float total[TOGETHER][KERNEL];
        sum_lanes<TOGETHER * KERNEL>(flat<Lanes>(sum), flat<float>(total));
        UNROLL
        for (int i = 0; i < TOGETHER; i++)
          accumulate<KERNEL>(work.gradient.weight2[group + i][channel][y], total[i], first);
      }
}

// The gradient of one channel of hidden1, row by row: each is made of shifted rows of every channel above.
static void input2_backward(const Parameters &weights, Workspace &work, int channel) {
  for (int row = 0; row < POOLED1; row++) {
    Lanes sum[POOLED1] = {};
    const int lowest = row < CONVOLVED2 ? 0 : row - CONVOLVED2 + 1, highest = row < KERNEL ? row : KERNEL - 1;
    for (int above = 0; above < CHANNELS2; above++)
      for (int y = lowest; y <= highest; y++)
        UNROLL
        for (int column = 0; column < CONVOLVED2; column++)
          UNROLL
          for (int x = 0; x < KERNEL; x++)
            sum[column + x] += weights.weight2[above][channel][y][x] * work.unpooled2[above][row - y][column];
    UNROLL
    for (int column = 0; column < POOLED1; column++) work.gradient1[row][column] = sum[column];
  }
}

// The kernel of one channel of the first layer, its sums in registers. What a window sees is gone through
// pixel by pixel, so that each is loaded once; it meets up to CORNERS taps.
static void weight1_backward(Workspace &work, int channel, bool first) {
  Lanes sum[KERNEL][KERNEL] = {}, bias = {};
  for (int row = 0; row < POOLED1; row++) {
    Lanes unpooled[POOL][CONVOLVED1];
    bias += unpool(work.gradient1[row], work.winner1[channel][row], unpooled);
    for (int column = 0; column < CONVOLVED1; column += POOL)
      UNROLL
      for (int pixel = 0; pixel < PATCH * PATCH; pixel++)
        UNROLL
        for (int corner = 0; corner < CORNERS; corner++) {
          const int y = pixel / PATCH - corner / POOL, x = pixel % PATCH - corner % POOL;
          if (y >= 0 && y < KERNEL && x >= 0 && x < KERNEL)
            sum[y][x] += unpooled[corner / POOL][column + corner % POOL] *
                         work.image[0][POOL * row + pixel / PATCH][column + pixel % PATCH];
        }
  }
  float total[TAPS];
  sum_lanes<TAPS>(flat<Lanes>(sum), total);
  accumulate<TAPS>(flat<float>(work.gradient.weight1[channel]), total, first);
  sum_lanes<1>(&bias, total);
  accumulate<1>(&work.gradient.bias1[channel], total, first);
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
