// Pools: a maximum or a mean over windows, which may overlap, or leave the last rows and columns out.

#pragma once
#include "layer.h"

typedef LaneIntegers Winner;  // which place of its window was the maximum, as a convolution's and a pool's say

// Whether `best` remains the maximum: as in PyTorch the first of equals does, and NaN wins.
INLINE LaneIntegers remains(Lanes best, Lanes candidate) {
  return ~(candidate > best) & (candidate == candidate);
}

// The maximum of a square window of SIDE x SIDE, and its place, 4 * row + column.
template <int SIDE>
INLINE void maximum(const Lanes *window, Lanes &best, Winner &winner) {
  const LaneIntegers zero = {};
  if constexpr (SIDE == 2) {
    const LaneIntegers left0 = remains(window[0], window[1]), left1 = remains(window[2], window[3]);
    const Lanes best0 = left0 ? window[0] : window[1], best1 = left1 ? window[2] : window[3];
    const LaneIntegers upper = remains(best0, best1);
    best = upper ? best0 : best1;
    winner = upper ? (left0 ? zero : zero + 1) : (left1 ? zero + 4 : zero + 5);
  } else {
    best = window[0];
    winner = zero;
    UNROLL
    for (int i = 1; i < SIDE * SIDE; i++) {
      const LaneIntegers stays = remains(best, window[i]);
      best = stays ? best : window[i];
      winner = stays ? winner : zero + (i / SIDE * 4 + i % SIDE);
    }
  }
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
};

template <class In, class Out, class Window, int PAD_Y, int PAD_X, class Activation, bool FIRST>
struct MaxPool : Weightless {
  struct Work {
    typename Out::Values out;
    typename Out::Gradient gradient;
    Winner winner[Out::CHANNELS][Out::ROWS][Out::COLUMNS];  // the place in its channel
  };

  static void forward(const typename In::Values &input, const float *, Work &work, const Draws &) {
    const LaneIntegers zero = {};
    for (int channel = 0; channel < Out::CHANNELS; channel++)
      for (int row = 0; row < Out::ROWS; row++)
        for (int column = 0; column < Out::COLUMNS; column++) {
          const Seen<In, Window, PAD_Y, PAD_X> seen(row, column);
          Lanes best = input[channel][seen.top][seen.left];
          Winner winner = zero + (seen.top * In::COLUMNS + seen.left);
          for (int y = seen.top; y < seen.bottom; y++)
            for (int x = seen.left; x < seen.right; x++) {
              const Lanes candidate = input[channel][y][x];
              const LaneIntegers stays = remains(best, candidate);
              best = stays ? best : candidate;
              winner = stays ? winner : zero + (y * In::COLUMNS + x);
            }
          work.winner[channel][row][column] = winner;
          work.out[channel][row + Out::BORDER_Y][column + Out::BORDER_X] = Activation::forward(best);
        }
  }

  static void backward(const typename In::Values &, typename In::Gradient *input, const float *, Work &work) {
    if constexpr (!FIRST) {
      if constexpr (!Activation::TRIVIAL)
        through_activation<Activation, Out>(work.out, work.gradient, nullptr);
      clear(*input);
      for (int channel = 0; channel < Out::CHANNELS; channel++)
        for (int row = 0; row < Out::ROWS; row++)
          for (int column = 0; column < Out::COLUMNS; column++) {
            const Seen<In, Window, PAD_Y, PAD_X> seen(row, column);
            const Lanes gradient = work.gradient[channel][row][column];
            const Winner winner = work.winner[channel][row][column];
            for (int y = seen.top; y < seen.bottom; y++)
              for (int x = seen.left; x < seen.right; x++)
                (*input)[channel][y][x] += winner == y * In::COLUMNS + x ? gradient : Lanes{};
          }
    }
  }
};

template <class In, class Out, class Window, class Activation, bool FIRST>
struct AveragePool : Weightless {
  static constexpr float SHARE = 1.0f / Window::TAPS;
  struct Work {
    typename Out::Values out;
    typename Out::Gradient gradient;
  };

  static void forward(const typename In::Values &input, const float *, Work &work, const Draws &) {
    for (int channel = 0; channel < Out::CHANNELS; channel++)
      for (int row = 0; row < Out::ROWS; row++)
        for (int column = 0; column < Out::COLUMNS; column++) {
          Lanes sum = {};
          for (int y = 0; y < Window::ROWS; y++)
            for (int x = 0; x < Window::COLUMNS; x++)
              sum += input[channel][Window::DOWN * row + y][Window::RIGHT * column + x];
          work.out[channel][row + Out::BORDER_Y][column + Out::BORDER_X] = Activation::forward(sum * SHARE);
        }
  }

  static void backward(const typename In::Values &, typename In::Gradient *input, const float *, Work &work) {
    if constexpr (!FIRST) {
      if constexpr (!Activation::TRIVIAL)
        through_activation<Activation, Out>(work.out, work.gradient, nullptr);
      clear(*input);
      for (int channel = 0; channel < Out::CHANNELS; channel++)
        for (int row = 0; row < Out::ROWS; row++)
          for (int column = 0; column < Out::COLUMNS; column++) {
            const Lanes gradient = work.gradient[channel][row][column] * SHARE;
            for (int y = 0; y < Window::ROWS; y++)
              for (int x = 0; x < Window::COLUMNS; x++)
                (*input)[channel][Window::DOWN * row + y][Window::RIGHT * column + x] += gradient;
          }
    }
  }
};
