// A convolution with its activation and, where its windows do not overlap, the max pool behind it: the convolved
// values of a window never leave the registers. Forward in lanes: a register holds the same value of as many
// images as it has lanes, and convolutions are plain loops of multiply-adds, whatever the size of their kernels.
//
// The way back is dense, in lanes (dense.h), or, behind a pool, sparse and image by image (sparse.h).

#pragma once
#include "dense.h"
#include "sparse.h"

template <class In, class Out, class Window, int POOL, class Weights, class Activation, bool FIRST>
struct Convolution {
  typedef ConvolutionShape<In, Out, Window, POOL> Shape;
  typedef WeightsInLanes<Shape> DenseWeights;
  typedef InputInLanes<Shape> DenseInput;
  static constexpr int C = Shape::C, O = Shape::O, CORNERS = POOL * POOL;
  // a pool passes on one place of many, which is worth going image by image
  static constexpr bool DENSE = POOL == 1, IN_LANES = DENSE || C <= FEW_CHANNELS;
  static constexpr bool BY_IMAGE = !DENSE && (!FIRST || !IN_LANES), INPUT_IN_LANES = DENSE && !FIRST;
  typedef ByImage<Shape, !IN_LANES, !FIRST> Sparse;
  // windows side by side, and channels
  static constexpr Block BLOCK =
      cheapest(Out::COLUMNS, O, Tile{CORNERS, CORNERS, 1, 0, CORNERS}, POOL > 1 ? 1 : LONGEST_SIDE);
  static constexpr int SIDE = BLOCK.side, TOGETHER = BLOCK.channels;

  struct Work {
    typename Out::Values out;
    typename Out::Gradient gradient;
    typename Shape::Winners winner;
    Lanes bias[O];
    alignas(Lanes) float total[Shape::WEIGHTS];  // of the batch so far, as the weights lie
    typename Either<IN_LANES, DenseWeights>::Work weights;
    typename Either<INPUT_IN_LANES, DenseInput>::Work input;
    typename Either<BY_IMAGE, Sparse>::Work maps;
  };

  static void forward(const typename In::Values &input, const float *weights, Work &work, const Draws &) {
    for (int start = 0; start < O; start += TOGETHER)
      for (int row = 0; row < Out::ROWS; row++)
        for (int column = 0; column < Out::COLUMNS; column += SIDE)
          convolve(input, weights, work, least(start, O - TOGETHER), row, least(column, Out::COLUMNS - SIDE));
  }

  INLINE void convolve(const typename In::Values &input, const float *weights, Work &work, int group, int row,
                       int column) {
    const auto &weight = Shape::kernels(weights + Weights::WEIGHT);
    Lanes sum[TOGETHER][SIDE][CORNERS];
    UNROLL
    for (int i = 0; i < TOGETHER; i++)
      UNROLL
      for (int cell = 0; cell < SIDE * CORNERS; cell++)
        flat<Lanes>(sum[i])[cell] = Lanes{} + Weights::bias(weights, group + i);
    for (int channel = 0; channel < C; channel++)
      for (int y = 0; y < Window::ROWS; y++) {
        const Lanes(*const rows)[In::WIDTH] = &input[channel][Window::DOWN * POOL * row + y];
        UNROLL
        for (int x = 0; x < Window::COLUMNS; x++)
          UNROLL
          for (int i = 0; i < TOGETHER; i++)
            UNROLL
            for (int side = 0; side < SIDE; side++)
              UNROLL
              for (int corner = 0; corner < CORNERS; corner++)
                sum[i][side][corner] +=
                    weight[group + i][channel][y][x] *
                    rows[Window::DOWN * (corner / POOL)]
                        [Window::RIGHT * (POOL * (column + side) + corner % POOL) + x];
      }
    UNROLL
    for (int i = 0; i < TOGETHER; i++)
      UNROLL
      for (int side = 0; side < SIDE; side++) {
        Lanes best = sum[i][side][0];
        if constexpr (POOL > 1) maximum<POOL>(sum[i][side], best, work.winner[group + i][row][column + side]);
        work.out[group + i][row + Out::BORDER_Y][column + side + Out::BORDER_X] = Activation::forward(best);
      }
  }

  static void begin(const float *weights, Work &work) {
    for (Lanes &bias : work.bias) bias = Lanes{};
    for (float &total : work.total) total = 0;
    if constexpr (BY_IMAGE) Sparse::begin(weights + Weights::WEIGHT, work.maps);
  }

  static void backward(const typename In::Values &input, typename In::Gradient *input_gradient,
                       const float *weights, Work &work) {
    through_activation<Activation, Out>(work.out, work.gradient, work.bias);
    if constexpr (IN_LANES)
      DenseWeights::backward(input, work.gradient, work.winner, work.weights, work.total);
    if constexpr (INPUT_IN_LANES)
      DenseInput::backward(*input_gradient, weights + Weights::WEIGHT, work.gradient, work.input);
    if constexpr (BY_IMAGE)
      Sparse::backward(input, input_gradient, work.gradient, work.winner, work.maps);
  }

  template <class Update>
  static void finish(Work &work, const Update &update) {
    if constexpr (!IN_LANES) Sparse::finish(work.maps, work.total);
    update(Weights::WEIGHT, work.total, Shape::WEIGHTS);
    if constexpr (Weights::BIAS >= 0) {
      alignas(Lanes) float bias[O];
      sum_many<O>(work.bias, bias);
      update(Weights::BIAS, bias, O);
    }
  }
};
