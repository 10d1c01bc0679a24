// The study's network (bsr.model.RegressionCNN) and its way forward, on one block of images.
//
// Batch in lanes: a vector register holds the same activation of as many images as it has lanes, so that
// convolutions are plain loops of fused multiply-adds, whatever the size of their kernels. The way back
// through the second convolution, where no two images go the same way, has a layout of its own (backward.h).

#pragma once
#include "lanes.h"

// Each convolution is followed by 2x2 max pooling, then ReLU.
constexpr int IMAGE = 28, KERNEL = 5, POOL = 2, HIDDEN = 50;
constexpr int CHANNELS1 = 10, CONVOLVED1 = IMAGE - KERNEL + 1, POOLED1 = CONVOLVED1 / POOL;
constexpr int CHANNELS2 = 20, CONVOLVED2 = POOLED1 - KERNEL + 1, POOLED2 = CONVOLVED2 / POOL;
constexpr int PIXELS = IMAGE * IMAGE, TAPS = KERNEL * KERNEL, CORNERS = POOL * POOL;
constexpr int WINDOWS2 = POOLED2 * POOLED2;
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

typedef LaneIntegers Winner;  // which corner of its window was the maximum, POOL * row + column

// One image's hidden1, or its gradient: the channels of a pixel side by side, filled up with zeros to whole
// registers, so that any row of a patch is a run of whole registers, wherever the patch begins.
constexpr int PARTS = (CHANNELS1 + LANES - 1) / LANES;
typedef Lanes Pixel[PARTS];
typedef Pixel Map[POOLED1][POOLED1];

struct Workspace {
  LaneBytes bytes[PIXELS];
  Lanes image[1][IMAGE][IMAGE];
  Lanes hidden1[CHANNELS1][POOLED1][POOLED1], hidden2[CHANNELS2][POOLED2][POOLED2], hidden3[HIDDEN];
  Winner winner1[CHANNELS1][POOLED1][POOLED1], winner2[CHANNELS2][POOLED2][POOLED2];
  // of what is pooled, before ReLU: 0 where that was dead
  Lanes gradient3[HIDDEN], gradient2[CHANNELS2][POOLED2][POOLED2], gradient1[CHANNELS1][POOLED1][POOLED1];
  // the same for the second convolution's way back, image by image
  Map hidden1_of[LANES], gradient1_of[LANES];
  Lanes gradient2_of[LANES][TILES];
  Pixel kernel2[CHANNELS2][KERNEL][KERNEL];
  LaneIntegers winners2[CONVOLVED2][CONVOLVED2];  // channels that pass a gradient to this place, a bit each
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
  winner = upper ? (left0 ? zero : zero + 1) : (left1 ? zero + 2 : zero + 3);
  hidden = relu(best);
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
