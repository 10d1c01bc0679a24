// A convolution with its activation and, where its windows do not overlap, the max pool behind it: the convolved
// values of a window never leave the registers. Forward in lanes: a register holds the same value of as many
// images as it has lanes, and convolutions are plain loops of multiply-adds, whatever the size of their kernels.
//
// The way back is dense, in lanes (dense.h), or, behind a pool, sparse and image by image (sparse.h).

#pragma once
#include "dense.h"
#include "sparse.h"

struct Nothing {};
template <bool, class Part>
struct Either {
  typedef Part Type;
};
template <class Part>
struct Either<false, Part> {
  typedef Nothing Type;
};

template <class In, class Out, class Window, int POOL, class Weights, class Activation, bool FIRST>
struct Convolution {
  typedef ConvolutionShape<In, Out, Window, POOL> Shape;
  static constexpr int C = Shape::C, O = Shape::O, CORNERS = POOL * POOL;
  // a pool passes on one place of many, which is worth going image by image
  static constexpr bool DENSE = POOL == 1, IN_LANES = DENSE || C <= FEW_CHANNELS;
  static constexpr bool BY_IMAGE = !DENSE && (!FIRST || !IN_LANES), INPUT_IN_LANES = DENSE && !FIRST;
  // windows side by side, and channels
  static constexpr Block BLOCK =
      cheapest(Out::COLUMNS, O, Tile{CORNERS, CORNERS, 1, 0, CORNERS}, POOL > 1 ? 1 : LONGEST_SIDE);
  static constexpr int SIDE = BLOCK.side, TOGETHER = BLOCK.channels;

  typename Out::Values out;
  typename Out::Gradient gradient;
  typename Shape::Winners winner;
  Lanes bias[O];
  alignas(Lanes) float total[Shape::WEIGHTS];  // of the batch so far, as the weights lie
  typename Either<IN_LANES, WeightsInLanes<Shape>>::Type weights_in_lanes;
  typename Either<INPUT_IN_LANES, InputInLanes<Shape>>::Type input_in_lanes;
  typename Either<BY_IMAGE, ByImage<Shape, !IN_LANES, !FIRST>>::Type by_image;

  void forward(const typename In::Values &input, const float *weights, const Draws &) {
    for (int start = 0; start < O; start += TOGETHER)
      for (int row = 0; row < Out::ROWS; row++)
        for (int column = 0; column < Out::COLUMNS; column += SIDE)
          convolve(input, weights, least(start, O - TOGETHER), row, least(column, Out::COLUMNS - SIDE));
  }

  INLINE void convolve(const typename In::Values &input, const float *weights, int group, int row, int column) {
    const auto &weight = Shape::kernels(weights + Weights::WEIGHT);
    Lanes sum[TOGETHER][SIDE][CORNERS];
    UNROLLED(i, TOGETHER)
      UNROLLED(cell, SIDE * CORNERS) flat<Lanes>(sum[i])[cell] = Lanes{} + Weights::bias(weights, group + i);
    for (int channel = 0; channel < C; channel++)
      for (int y = 0; y < Window::ROWS; y++) {
        const Lanes(*const rows)[In::WIDTH] = &input[channel][Window::DOWN * POOL * row + y];
        UNROLLED(x, Window::COLUMNS)
          UNROLLED(i, TOGETHER)
            UNROLLED(side, SIDE)
              UNROLLED(corner, CORNERS)
                sum[i][side][corner] +=
                    weight[group + i][channel][y][x] *
                    rows[Window::DOWN * (corner / POOL)]
                        [Window::RIGHT * (POOL * (column + side) + corner % POOL) + x];
      }
    UNROLLED(i, TOGETHER)
      UNROLLED(side, SIDE) {
        Lanes best = sum[i][side][0];
        if constexpr (POOL > 1) best = maximum<POOL>(sum[i][side], winner[group + i][row][column + side]);
        Out::at(out, group + i, row, column + side) = Activation::forward(best);
      }
  }

  void begin(const float *weights) {
    for (Lanes &sum : bias) sum = Lanes{};
    for (float &sum : total) sum = 0;
    if constexpr (BY_IMAGE) by_image.begin(weights + Weights::WEIGHT);
  }

  void backward(const typename In::Values &input, typename In::Gradient *input_gradient, const float *weights) {
    through_activation<Activation, Out>(out, gradient, bias);
    if constexpr (IN_LANES) weights_in_lanes.backward(input, gradient, winner, total);
    if constexpr (INPUT_IN_LANES)
      input_in_lanes.backward(*input_gradient, weights + Weights::WEIGHT, gradient);
    if constexpr (BY_IMAGE) by_image.backward(input, input_gradient, gradient, winner);
  }

  template <class Update>
  void finish(const Update &update) {
    if constexpr (!IN_LANES) by_image.finish(total);
    update(Weights::WEIGHT, total, Shape::WEIGHTS);
    Weights::template finish_bias<O>(bias, update);
  }
};
