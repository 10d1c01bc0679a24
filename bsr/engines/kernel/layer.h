// What every layer has: the shape of what it puts out, its activation, and what it is told by the batch.
//
// A layer is an object of the workspace, all zeros at first: `out`, what it puts out, and `gradient`, of that,
// for a block of images; and four functions: `begin` before a batch, `forward` and `backward` for each of its
// blocks, `finish` after it, which gives the batch's gradient to an `update`. FIRST says that nothing
// before a layer has weights: then the gradient of what it was given is not wanted.

#pragma once
#include "blocks.h"

// Channels of ROWS x COLUMNS, with a border of zeros as the next layer wants it.
template <int CHANNELS_, int ROWS_, int COLUMNS_, int BORDER_Y_ = 0, int BORDER_X_ = 0>
struct Map {
  static constexpr int CHANNELS = CHANNELS_, ROWS = ROWS_, COLUMNS = COLUMNS_;
  static constexpr int BORDER_Y = BORDER_Y_, BORDER_X = BORDER_X_, COUNT = CHANNELS * ROWS * COLUMNS;
  static constexpr int HEIGHT = ROWS + 2 * BORDER_Y, WIDTH = COLUMNS + 2 * BORDER_X;
  typedef Lanes Values[CHANNELS][HEIGHT][WIDTH];
  typedef Lanes Gradient[CHANNELS][ROWS][COLUMNS];  // the border has none

  template <class Borders>
  static INLINE auto &at(Borders &values, int channel, int row, int column) {
    return values[channel][row + BORDER_Y][column + BORDER_X];
  }
  template <class Function>
  static INLINE void each(const Function &function) {
    for (int channel = 0; channel < CHANNELS; channel++)
      for (int row = 0; row < ROWS; row++)
        for (int column = 0; column < COLUMNS; column++) function(channel, row, column);
  }
};

template <int ROWS_, int COLUMNS_, int DOWN_, int RIGHT_>
struct Window {
  static constexpr int ROWS = ROWS_, COLUMNS = COLUMNS_, DOWN = DOWN_, RIGHT = RIGHT_, TAPS = ROWS * COLUMNS;
};

// Where a layer's parameters lie in the flat array; without a bias BIAS is -1.
template <int WEIGHT_, int BIAS_>
struct At {
  static constexpr int WEIGHT = WEIGHT_, BIAS = BIAS_;
  static float bias(const float *weights, int i) { return BIAS < 0 ? 0.0f : weights[most(BIAS, 0) + i]; }
  template <int COUNT, class Update>
  static void finish_bias(const Lanes *sums, const Update &update) {
    float total[COUNT];
    sum_lanes(sums, COUNT, total);
    if (BIAS >= 0) update(BIAS, total, COUNT);
  }
};

// What a block is drawn by: see dropout.
struct Draws {
  uint32_t seed[2];
  LaneBits image;  // which of all images trained on so far, counted in drawn ones
  bool dropping;
};

struct Weightless {
  void begin(const float *) {}
  template <class Update>
  void finish(const Update &) {}
};

// ---- activations: all of them rise, so that the maximum of a window may be taken before them ---------------

struct Identity {
  static INLINE Lanes forward(Lanes value) { return value; }
  static INLINE Lanes backward(Lanes gradient, Lanes) { return gradient; }
};

struct Relu {
  static INLINE Lanes forward(Lanes value) { return value <= 0.0f ? Lanes{} : value; }  // NaN stays NaN
  static INLINE Lanes backward(Lanes gradient, Lanes out) { return out <= 0.0f ? Lanes{} : gradient; }
};

template <class Slope>
struct LeakyRelu {
  static INLINE Lanes forward(Lanes value) { return value <= 0.0f ? value * Slope::VALUE : value; }
  static INLINE Lanes backward(Lanes gradient, Lanes out) {
    return out <= 0.0f ? gradient * Slope::VALUE : gradient;
  }
};

// From exp(2 |v|) = 2^n exp(rest), with Taylor's series for exp(rest) and, near 0, for tanh itself: within
// 2 units in the last place.
struct Tanh {
  static Lanes forward(Lanes value) {
    const LaneIntegers sign = (LaneIntegers)value & INT32_MIN;
    const Lanes given = (Lanes)((LaneIntegers)value ^ sign), size = given > 10.0f ? Lanes{} + 10.0f : given;
    const Lanes twice = size + size;
    const LaneIntegers n = __builtin_convertvector(twice * 1.44269504f + 0.5f, LaneIntegers);
    const Lanes power = __builtin_convertvector(n, Lanes);
    const Lanes rest = twice - power * 0.693359375f + power * 2.12194440e-4f;  // ln 2 in two parts
    Lanes sum = Lanes{} + 1.0f / 5040;
    constexpr float TAYLOR[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
    UNROLLED(i, 7) sum = sum * rest + TAYLOR[i];
    const Lanes large = 1.0f - 2.0f / ((Lanes)((LaneIntegers)sum + (n << 23)) + 1.0f);
    const Lanes square = size * size;
    const Lanes series = -1.0f / 3 + square * (2.0f / 15 + square * (-17.0f / 315 + square * (62.0f / 2835)));
    const Lanes found = size < 0.25f ? size + size * square * series : large;
    const Lanes known = value == value ? found : value;  // no integer is like NaN
    return (Lanes)((LaneIntegers)known ^ sign);
  }
  static INLINE Lanes backward(Lanes gradient, Lanes out) { return gradient * (1.0f - out * out); }
};

// Of values only; it falls where the factor is below 0, so no pool may overtake it.
template <class Factor, class Shift>
struct Affine {
  static INLINE Lanes forward(Lanes value) { return value * Factor::VALUE + Shift::VALUE; }
  static INLINE Lanes backward(Lanes gradient, Lanes) { return gradient * Factor::VALUE; }
};

// The gradient of what a layer put out becomes that of what it summed; sums over places are added to `bias`.
template <class Activation, class Out>
static INLINE void through_activation(const typename Out::Values &out, typename Out::Gradient &gradient,
                                      Lanes *bias = nullptr) {
  for (int channel = 0; channel < Out::CHANNELS; channel++) {
    Lanes sum = {};
    for (int row = 0; row < Out::ROWS; row++)
      for (int column = 0; column < Out::COLUMNS; column++) {
        Lanes &place = gradient[channel][row][column];
        place = Activation::backward(place, Out::at(out, channel, row, column));
        sum += place;
      }
    if (bias) bias[channel] += sum;
  }
}
