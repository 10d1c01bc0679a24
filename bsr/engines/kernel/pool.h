// Pools: a maximum or a mean over windows, which may overlap, or leave the last rows and columns out.

#pragma once
#include "layer.h"

typedef LaneIntegers Winner;  // which place of its window was the maximum, as a convolution's and a pool's say

// `best` and its place, and a candidate: as in PyTorch the first of equals wins, and NaN.
static INLINE void contest(Lanes &best, Winner &winner, Lanes candidate, int place) {
  const LaneIntegers remains = ~(candidate > best) & (candidate == candidate);
  best = remains ? best : candidate;
  winner = remains ? winner : Winner{} + place;
}

// The maximum of a square window of SIDE x SIDE, and its place, 4 * row + column.
template <int SIDE>
static INLINE Lanes maximum(const Lanes *window, Winner &place) {
  Lanes best = window[0];
  Winner winner = {};
  UNROLL
  for (int i = 1; i < SIDE * SIDE; i++) contest(best, winner, window[i], i / SIDE * 4 + i % SIDE);
  place = winner;
  return best;
}

// The places of the input that a window sees; PAD_Y and PAD_X around it count for nothing.
template <class In, class Window, int PAD_Y, int PAD_X>
struct Seen {
  int top, left, bottom, right;
  Seen(int row, int column) {
    const int y = Window::DOWN * row - PAD_Y, x = Window::RIGHT * column - PAD_X;
    top = most(y, 0), left = most(x, 0);
    bottom = least(y + Window::ROWS, In::ROWS), right = least(x + Window::COLUMNS, In::COLUMNS);
  }
  template <class Function>
  INLINE void each(const Function &function) const {
    for (int y = top; y < bottom; y++)
      for (int x = left; x < right; x++) function(y, x);
  }
};

template <class In, class Out, class Window, int PAD_Y, int PAD_X, class Activation, bool FIRST>
struct MaxPool : Weightless {
  typedef Seen<In, Window, PAD_Y, PAD_X> Places;
  typename Out::Values out;
  typename Out::Gradient gradient;
  Winner winner[Out::CHANNELS][Out::ROWS][Out::COLUMNS];  // the place in its channel

  void forward(const typename In::Values &input, const float *, const Draws &) {
    Out::each([&](int channel, int row, int column) {
      const Places seen(row, column);
      Lanes best = input[channel][seen.top][seen.left];
      Winner won = Winner{} + (seen.top * In::COLUMNS + seen.left);
      seen.each([&](int y, int x) { contest(best, won, input[channel][y][x], y * In::COLUMNS + x); });
      winner[channel][row][column] = won;
      Out::at(out, channel, row, column) = Activation::forward(best);
    });
  }

  void backward(const typename In::Values &, typename In::Gradient *input, const float *) {
    if constexpr (FIRST) return;
    through_activation<Activation, Out>(out, gradient);
    In::each([&](int channel, int row, int column) { (*input)[channel][row][column] = Lanes{}; });
    Out::each([&](int channel, int row, int column) {
      const Lanes slope = gradient[channel][row][column];
      const Winner won = winner[channel][row][column];
      Places(row, column).each([&](int y, int x) {
        (*input)[channel][y][x] += won == y * In::COLUMNS + x ? slope : Lanes{};
      });
    });
  }
};

template <class In, class Out, class Window, class Activation, bool FIRST>
struct AveragePool : Weightless {
  typedef Seen<In, Window, 0, 0> Places;
  static constexpr float SHARE = 1.0f / Window::TAPS;
  typename Out::Values out;
  typename Out::Gradient gradient;

  void forward(const typename In::Values &input, const float *, const Draws &) {
    Out::each([&](int channel, int row, int column) {
      Lanes sum = {};
      Places(row, column).each([&](int y, int x) { sum += input[channel][y][x]; });
      Out::at(out, channel, row, column) = Activation::forward(sum * SHARE);
    });
  }

  void backward(const typename In::Values &, typename In::Gradient *input, const float *) {
    if constexpr (FIRST) return;
    through_activation<Activation, Out>(out, gradient);
    In::each([&](int channel, int row, int column) { (*input)[channel][row][column] = Lanes{}; });
    Out::each([&](int channel, int row, int column) {
      const Lanes slope = gradient[channel][row][column] * SHARE;
      Places(row, column).each([&](int y, int x) { (*input)[channel][y][x] += slope; });
    });
  }
};
