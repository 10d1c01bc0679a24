// The network's way back: from the gradient of the predictions into work.gradient.
//
// Behind max-pooling one place in four carries a gradient, and none where ReLU was dead. Only what these pass
// on is computed: each window of the second convolution passes its gradient to the one patch in which its
// maximum was, and a patch is KERNEL runs of whole registers. No two images have the same windows, so this
// goes image by image; everything before and after stays in lanes.
//
// `first` says that the block is its batch's first: gradients are stored then, and later added to.

#pragma once
#include "network.h"

INLINE Lanes relu_backward(Lanes gradient, Lanes hidden) { return hidden <= 0.0f ? Lanes{} : gradient; }

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
    layer.hidden_bias[i] = relu_backward(weights.output.weight[i] * gradient, work.hidden3[i]);
    work.gradient3[i] = layer.hidden_bias[i];
  }
  float total[COUNT];
  sum_lanes<COUNT>(flat<Lanes>(layer), total);
  accumulate<COUNT>(flat<float>(work.gradient.output), total, first);
}

// The rows [FEATURES] of lanes as a row of features per image.
static void by_image(const Lanes *features, Lanes (&images)[LANES][TILES]) {
  for (int tile = 0; tile < TILES; tile++) {
    Lanes rows[LANES];
    UNROLL
    for (int i = 0; i < LANES; i++) rows[i] = features[tile * LANES + i];
    transpose(rows);
    UNROLL
    for (int i = 0; i < LANES; i++) images[i][tile] = rows[i];
  }
}

// The largest layer's weights. Here the lanes are features, and the multiply-adds sum over the images.
static void hidden_weight_backward(Workspace &work, bool first) {
  Lanes features[LANES][TILES];
  by_image(flat<Lanes>(work.hidden2), features);
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
    for (int i = 0; i < TOGETHER; i++)
      gradient2[group + i] = relu_backward(sum[i], flat<Lanes>(work.hidden2)[group + i]);
  }
}

static void bias2_backward(Workspace &work, bool first) {
  Lanes bias[CHANNELS2] = {};
  for (int channel = 0; channel < CHANNELS2; channel++)
    for (const auto &row : work.gradient2[channel])
      for (const Lanes gradient : row) bias[channel] += gradient;
  float total[CHANNELS2];
  sum_lanes<CHANNELS2>(bias, total);
  accumulate<CHANNELS2>(work.gradient.bias2, total, first);
}

// ---- the second convolution, image by image ---------------------------------------------------------------

// A kernel's sums are gone through ROWS rows at a time: all at once where the registers hold them.
constexpr int ROWS = TAPS * PARTS < REGISTERS ? KERNEL : 1;

static void enter_maps(const Parameters &weights, Workspace &work) {
  for (int pixel = 0; pixel < POOLED1 * POOLED1; pixel++)
    UNROLL
    for (int part = 0; part < PARTS; part++) {
      Lanes rows[LANES];
      UNROLL
      for (int i = 0; i < LANES; i++) {
        const int channel = part * LANES + i;
        rows[i] = channel < CHANNELS1 ? flat<Lanes>(work.hidden1[channel])[pixel] : Lanes{};
      }
      transpose(rows);
      UNROLL
      for (int image = 0; image < LANES; image++)
        flat<Pixel>(work.hidden1_of[image])[pixel][part] = rows[image];
    }
  for (int above = 0; above < CHANNELS2; above++)
    for (int channel = 0; channel < CHANNELS1; channel++)
      for (int tap = 0; tap < TAPS; tap++)
        flat<float>(flat<Pixel>(work.kernel2[above])[tap])[channel] =
            flat<const float>(weights.weight2[above][channel])[tap];
  by_image(flat<Lanes>(work.gradient2), work.gradient2_of);
  for (int row = 0; row < CONVOLVED2; row++)
    for (int column = 0; column < CONVOLVED2; column++) {
      const int y = row / POOL, x = column / POOL, corner = row % POOL * POOL + column % POOL;
      LaneIntegers channels = {};
      for (int channel = 0; channel < CHANNELS2; channel++) {
        const LaneIntegers passes = work.gradient2[channel][y][x] != 0.0f;
        channels |= passes & (work.winner2[channel][y][x] == corner) & (1 << channel);
      }
      work.winners2[row][column] = channels;
    }
}

static void leave_maps(Workspace &work) {
  for (int pixel = 0; pixel < POOLED1 * POOLED1; pixel++)
    UNROLL
    for (int part = 0; part < PARTS; part++) {
      Lanes rows[LANES];
      UNROLL
      for (int image = 0; image < LANES; image++)
        rows[image] = flat<Pixel>(work.gradient1_of[image])[pixel][part];
      transpose(rows);
      UNROLL
      for (int i = 0; i < LANES; i++)
        if (const int channel = part * LANES + i; channel < CHANNELS1)
          flat<Lanes>(work.gradient1[channel])[pixel] =
              relu_backward(rows[i], flat<Lanes>(work.hidden1[channel])[pixel]);
    }
}

// The kernels of one channel: a list of its windows that have a gradient, then a sum over their patches.
static void weight2_backward(Workspace &work, int above, bool first) {
  LaneIntegers begin[WINDOWS2];  // the patch's first pixel in its image's map
  for (int window = 0; window < WINDOWS2; window++) {
    const int row = window / POOLED2, column = window % POOLED2;
    const Winner winner = flat<Winner>(work.winner2[above])[window];
    begin[window] = (POOL * row + winner / POOL) * POOLED1 + POOL * column + winner % POOL;
  }
  struct {
    int32_t patch;  // its first pixel, counted through all maps
    float gradient;
  } window_of[LANES * WINDOWS2 + 1];  // the last is written to and never counted
  int count = 0;
  for (int image = 0; image < LANES; image++)
    UNROLL
    for (int window = 0; window < WINDOWS2; window++) {
      const float gradient = flat<Lanes>(work.gradient2[above])[window][image];
      window_of[count] = {image * POOLED1 * POOLED1 + begin[window][image], gradient};
      count += gradient != 0;
    }
  Pixel total[KERNEL][KERNEL];
  for (int top = 0; top < KERNEL; top += ROWS) {
    Pixel sum[ROWS][KERNEL] = {};
    for (int i = 0; i < count; i++) {
      const Pixel *const patch = flat<Pixel>(work.hidden1_of) + window_of[i].patch + top * POOLED1;
      UNROLL
      for (int y = 0; y < ROWS; y++)
        UNROLL
        for (int x = 0; x < KERNEL; x++)
          UNROLL
          for (int part = 0; part < PARTS; part++)
            sum[y][x][part] += window_of[i].gradient * patch[y * POOLED1 + x][part];
    }
    UNROLL
    for (int y = 0; y < ROWS; y++)
      UNROLL
      for (int x = 0; x < KERNEL; x++)
        UNROLL
        for (int part = 0; part < PARTS; part++) total[top + y][x][part] = sum[y][x][part];
  }
  for (int channel = 0; channel < CHANNELS1; channel++) {
    float taps[TAPS];
    for (int tap = 0; tap < TAPS; tap++) taps[tap] = flat<float>(flat<Pixel>(total)[tap])[channel];
    accumulate<TAPS>(flat<float>(work.gradient.weight2[above][channel]), taps, first);
  }
}

// The gradient of one image's hidden1. The sums of KERNEL columns move with the patch from left to right: a
// column is complete once the patch has left it.
static void input2_backward(Workspace &work, int image) {
  const float *const gradient2 = flat<float>(work.gradient2_of[image]);
  Map &map = work.gradient1_of[image];
  for (auto &row : map)
    for (Pixel &pixel : row)
      for (Lanes &part : pixel) part = Lanes{};
  for (int top = 0; top < KERNEL; top += ROWS)
    for (int row = 0; row < CONVOLVED2; row++) {
      Pixel sum[ROWS][KERNEL] = {};
      UNROLL
      for (int column = 0; column < POOLED1; column++) {
        if (column < CONVOLVED2)
          for (unsigned channels = work.winners2[row][column][image]; channels; channels &= channels - 1) {
            const int above = __builtin_ctz(channels);
            const float gradient = gradient2[(above * POOLED2 + row / POOL) * POOLED2 + column / POOL];
            UNROLL
            for (int y = 0; y < ROWS; y++)
              UNROLL
              for (int x = 0; x < KERNEL; x++)
                UNROLL
                for (int part = 0; part < PARTS; part++)
                  sum[y][x][part] += gradient * work.kernel2[above][top + y][x][part];
          }
        UNROLL
        for (int y = 0; y < ROWS; y++)
          UNROLL
          for (int part = 0; part < PARTS; part++) {
            map[row + top + y][column][part] += sum[y][0][part];
            UNROLL
            for (int x = 1; x < KERNEL; x++) sum[y][x - 1][part] = sum[y][x][part];
            sum[y][KERNEL - 1][part] = Lanes{};
          }
      }
    }
}

// ---- the first convolution, in lanes ----------------------------------------------------------------------

// The kernel of one channel, its sums in registers. Of two pixels one above the other each lane takes that
// which its winner saw; left or right is told by which of two gradients is 0.
static void weight1_backward(Workspace &work, int channel, bool first) {
  Lanes sum[KERNEL][KERNEL] = {}, bias = {};
  for (int row = 0; row < POOLED1; row++)
    for (int column = 0; column < POOLED1; column++) {
      const Winner winner = work.winner1[channel][row][column];
      const LaneIntegers lower = winner >= POOL, right = (winner & 1) != 0;
      const Lanes gradient = work.gradient1[channel][row][column];
      const Lanes of_left = right ? Lanes{} : gradient, of_right = right ? gradient : Lanes{};
      bias += gradient;
      UNROLL
      for (int y = 0; y < KERNEL; y++)
        UNROLL
        for (int x = 0; x <= KERNEL; x++) {
          const Lanes *const pixel = &work.image[0][POOL * row + y][POOL * column + x];
          const Lanes seen = lower ? pixel[IMAGE] : pixel[0];
          if (x < KERNEL) sum[y][x] += of_left * seen;
          if (x > 0) sum[y][x - 1] += of_right * seen;
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
  bias2_backward(work, first);
  enter_maps(weights, work);
  for (int channel = 0; channel < CHANNELS2; channel++) weight2_backward(work, channel, first);
  for (int image = 0; image < LANES; image++) input2_backward(work, image);
  leave_maps(work);
  for (int channel = 0; channel < CHANNELS1; channel++) weight1_backward(work, channel, first);
}
