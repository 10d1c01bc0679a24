// The way back through a convolution, in lanes: the gradient of its weights, and of its input.

#pragma once
#include "pool.h"

constexpr int FEW_CHANNELS = 4;  // of the input: up to so many, image by image leaves registers too empty

// A convolution's shape, as both ways back need it.
template <class In_, class Out_, class Window_, int POOL_>
struct ConvolutionShape {
  typedef In_ In;
  typedef Out_ Out;
  typedef Window_ Window;
  static constexpr int POOL = POOL_, C = In::CHANNELS, O = Out::CHANNELS, TAPS = Window::TAPS;
  static constexpr int WEIGHTS = O * C * TAPS, PLACES = Out::ROWS * Out::COLUMNS;
  typedef float Kernels[O][C][Window::ROWS][Window::COLUMNS];
  static const Kernels &kernels(const float *weights) { return *reinterpret_cast<const Kernels *>(weights); }
  // which corner of its window was the maximum, 4 * row + column
  typedef Winner Winners[POOL > 1 ? O : 1][Out::ROWS][Out::COLUMNS];
};

// A few rows of places after the other, so that those of the input stay in the first-level cache while all
// channels see them.
template <class Shape>
struct WeightsInLanes {
  typedef typename Shape::In In;
  typedef typename Shape::Out Out;
  typedef typename Shape::Window Window;
  typedef typename Out::Gradient Gradient;
  typedef typename Shape::Winners Winners;
  static constexpr int C = Shape::C, O = Shape::O, TAPS = Shape::TAPS, POOL = Shape::POOL;
  static constexpr int K = Window::COLUMNS, DOWN = Window::DOWN, RIGHT = Window::RIGHT;
  // rows of a kernel, and channels, at once
  static constexpr int HELD = TAPS <= 25 ? Window::ROWS : 1;
  static constexpr int CHANNELS = POOL > 1 ? 1 : together(O, most(1, SUMS / (HELD * K)));
  static constexpr int GROUPS = up(O, CHANNELS);
  static constexpr int FITTING = (CHUNK_BYTES / (In::WIDTH * LANES * 4) - Window::ROWS) / (DOWN * POOL) + 1;
  static constexpr int CHUNK = most(1, least(Out::ROWS, FITTING));
  typedef Lanes Channel[In::HEIGHT][In::WIDTH], Sums[CHANNELS][HELD][K], Totals[CHANNELS][TAPS];
  Totals totals[GROUPS];
  float sums[GROUPS][CHANNELS][TAPS];

  void backward(const typename In::Values &input, const Gradient &gradient, const Winners &winner, float *total) {
    for (int channel = 0; channel < C; channel++) {
      for (int i = 0; i < GROUPS * CHANNELS * TAPS; i++) flat<Lanes>(totals)[i] = Lanes{};
      for (int from = 0; from < Out::ROWS; from += CHUNK)
        for (int group = 0; group < GROUPS; group++)
          for (int top = 0; top < Window::ROWS; top += HELD)
            rows(input[channel], gradient, winner, first_of(group), top, from, least(from + CHUNK, Out::ROWS),
                 totals[group]);
      sum_lanes(flat<Lanes>(totals), GROUPS * CHANNELS * TAPS, flat<float>(sums));
      for (int group = 0; group < GROUPS; group++) {
        const int o = first_of(group);  // the last group may begin with channels of the one before
        for (int i = group * CHANNELS - o; i < CHANNELS; i++)
          for (int tap = 0; tap < TAPS; tap++) total[((o + i) * C + channel) * TAPS + tap] += sums[group][i][tap];
      }
    }
  }

  static constexpr int first_of(int group) { return least(group * CHANNELS, O - CHANNELS); }

  static void rows(const Channel &input, const Gradient &gradient, const Winners &winner, int o, int top, int from,
                   int until, Totals &total) {
    Sums sum;
    UNROLLED(i, CHANNELS)
      UNROLLED(tap, HELD * K) flat<Lanes>(sum[i])[tap] = total[i][top * K + tap];
    for (int row = from; row < until; row++)
      for (int column = 0; column < Out::COLUMNS; column++) {
        const Lanes *const corner = &input[DOWN * POOL * row + top][RIGHT * POOL * column];
        if constexpr (POOL == 1)
          place(corner, gradient, o, row, column, sum);
        else
          window(corner, gradient[o][row][column], winner[o][row][column], sum);
      }
    UNROLLED(i, CHANNELS)
      UNROLLED(tap, HELD * K) total[i][top * K + tap] = flat<Lanes>(sum[i])[tap];
  }

  static INLINE void place(const Lanes *corner, const Gradient &gradients, int o, int row, int column, Sums &sum) {
    Lanes gradient[CHANNELS];
    UNROLLED(i, CHANNELS) gradient[i] = gradients[o + i][row][column];
    UNROLLED(y, HELD)
      UNROLLED(x, K)
        UNROLLED(i, CHANNELS) sum[i][y][x] += gradient[i] * corner[y * In::WIDTH + x];
  }

  // Of pixels one above the other each lane takes that which its winner saw; which column it was is told by
  // which of several gradients is not 0.
  static INLINE void window(const Lanes *corner, Lanes gradient, Winner winner, Sums &sum) {
    Lanes of[POOL];
    LaneIntegers below[POOL];  // whether the winner is at least in that row
    UNROLLED(i, POOL) {
      of[i] = (winner & 3) == i ? gradient : Lanes{};
      below[i] = winner >= 4 * i;
    }
    UNROLLED(y, HELD)
      UNROLLED(x, K + RIGHT * (POOL - 1)) {
        Lanes seen = corner[y * In::WIDTH + x];
        UNROLLED(i, POOL - 1) seen = below[i + 1] ? corner[(y + (i + 1) * DOWN) * In::WIDTH + x] : seen;
        UNROLLED(i, POOL)
          if (x - RIGHT * i >= 0 && x - RIGHT * i < K) sum[0][y][x - RIGHT * i] += of[i] * seen;
      }
  }
};

// One axis of the gradient of the input. A tile is STRIDE pixels, the first one's places and those before it see
// them; tap `k` of the kernel sees pixel `cell(k)` of a tile from the place `back(k)` before the last that sees it.
template <int PIXELS, int PAD, int TAPS, int STRIDE, int PLACES>
struct Axis {
  static constexpr int TILES = up(PIXELS, STRIDE), SHIFT = STRIDE - PAD % STRIDE, LAST = PAD / STRIDE + 1;
  static constexpr int cell(int tap) { return (tap + SHIFT) % STRIDE; }
  static constexpr int back(int tap) { return (tap + SHIFT) / STRIDE; }
  // places of zeros around those that there are
  static constexpr int BORDER = most(most(back(TAPS - 1) - LAST, TILES - 1 + LAST - back(0) - (PLACES - 1)), 0);
  static constexpr int place(int tile) { return tile + LAST + BORDER; }
  static constexpr int REACH = back(TAPS - 1) - back(0);
};

// DOWN x RIGHT pixels of the input, a tile, are seen by the same places: tiles side by side, and channels.
template <class Shape>
struct InputInLanes {
  typedef typename Shape::In In;
  typedef typename Shape::Out Out;
  typedef typename Shape::Window Window;
  static constexpr int C = Shape::C, O = Shape::O, DOWN = Window::DOWN, RIGHT = Window::RIGHT;
  typedef Axis<In::ROWS, In::BORDER_Y, Window::ROWS, DOWN, Out::ROWS> Y;
  typedef Axis<In::COLUMNS, In::BORDER_X, Window::COLUMNS, RIGHT, Out::COLUMNS> X;
  static constexpr bool PLAIN = DOWN == 1 && RIGHT == 1;
  static constexpr Tile TILE = {DOWN * RIGHT, Shape::TAPS, Shape::TAPS,
                                PLAIN ? Shape::TAPS - Window::COLUMNS : (Y::REACH + 1) * X::REACH,
                                PLAIN ? Window::ROWS : Y::REACH + 1};
  // with strides the places of a tile serve many channels better than tiles side by side (by 5% and more)
  static constexpr Block BLOCK = cheapest(X::TILES, C, TILE, PLAIN || C < FEW_CHANNELS ? LONGEST_SIDE : 1);
  static constexpr int SIDE = BLOCK.side, CHANNELS = BLOCK.channels;
  Lanes bordered[O][Out::ROWS + 2 * Y::BORDER][Out::COLUMNS + 2 * X::BORDER];  // the border stays 0

  void backward(typename In::Gradient &input, const float *weights, const typename Out::Gradient &gradient) {
    Out::each([&](int o, int row, int column) {
      bordered[o][row + Y::BORDER][column + X::BORDER] = gradient[o][row][column];
    });
    for (int start = 0; start < C; start += CHANNELS)
      for (int row = 0; row < Y::TILES; row++)
        for (int tile = 0; tile < X::TILES; tile += SIDE)
          tiles(input, weights, least(start, C - CHANNELS), row, least(tile, X::TILES - SIDE));
  }

  INLINE void tiles(typename In::Gradient &input, const float *weights, int group, int row, int column) {
    const auto &weight = Shape::kernels(weights);
    Lanes sum[CHANNELS][SIDE][DOWN][RIGHT] = {};
    for (int o = 0; o < O; o++) {
      const auto *const places = &bordered[o][Y::place(row)];
      UNROLLED(y, Window::ROWS)
        UNROLLED(x, Window::COLUMNS)
          UNROLLED(i, CHANNELS)
            UNROLLED(side, SIDE)
              sum[i][side][Y::cell(y)][X::cell(x)] +=
                  weight[o][group + i][y][x] * places[-Y::back(y)][X::place(column + side) - X::back(x)];
    }
    UNROLLED(i, CHANNELS)
      UNROLLED(side, SIDE)
        UNROLLED(pixel, DOWN * RIGHT) {
          const int y = DOWN * row + pixel / RIGHT, x = RIGHT * (column + side) + pixel % RIGHT;
          if ((In::ROWS % DOWN == 0 || y < In::ROWS) && (In::COLUMNS % RIGHT == 0 || x < In::COLUMNS))
            input[group + i][y][x] = sum[i][side][pixel / RIGHT][pixel % RIGHT];
        }
  }
};
