// A linear layer. Its weights' gradient has features in lanes, and the multiply-adds sum over the images.

#pragma once
#include "layer.h"

template <class In, int OUT, class Weights, class Activation, bool FIRST>
struct Linear {
  typedef Map<OUT, 1, 1> Out;
  static constexpr int IN = In::COUNT, TILES = up(IN, LANES), HELD = REGISTERS == 32 ? 16 : 10;
  static constexpr int OUTPUTS = together(OUT, HELD), INPUTS = together(IN, HELD);
  typename Out::Values out;
  typename Out::Gradient gradient;
  Lanes bias[OUT];
  Lanes total[TILES][OUT + 1];  // of one more register, lest tiles lie in the same sets of a cache
  bool fresh;  // whether the block is its batch's first: totals are stored then, and later added to

  void begin(const float *) {
    for (Lanes &sum : bias) sum = Lanes{};
    fresh = true;
  }

  void forward(const typename In::Values &input, const float *weights, const Draws &) {
    const float *const weight = weights + Weights::WEIGHT;
    const Lanes *const feature = flat<const Lanes>(input);
    for (int start = 0; start < OUT; start += OUTPUTS) {
      const int group = least(start, OUT - OUTPUTS);
      Lanes sum[OUTPUTS];
      UNROLLED(i, OUTPUTS) sum[i] = Lanes{} + Weights::bias(weights, group + i);
      for (int k = 0; k < IN; k++)
        UNROLLED(i, OUTPUTS) sum[i] += weight[(group + i) * IN + k] * feature[k];
      UNROLLED(i, OUTPUTS) out[group + i][0][0] = Activation::forward(sum[i]);
    }
  }

  void backward(const typename In::Values &input, typename In::Gradient *input_gradient, const float *weights) {
    through_activation<Activation, Out>(out, gradient, bias);
    weights_backward(flat<const Lanes>(input), fresh);
    fresh = false;
    if constexpr (!FIRST) input_backward(flat<Lanes>(*input_gradient), weights + Weights::WEIGHT);
  }

  void weights_backward(const Lanes *feature, bool store) {
    const float *const slope = flat<float>(gradient);
    for (int tile = 0; tile < TILES; tile++) {
      Lanes rows[LANES];
      UNROLLED(i, LANES) {
        const int k = tile * LANES + i;
        rows[i] = IN % LANES == 0 || k < IN ? feature[k] : Lanes{};
      }
      transpose(rows);
      for (int j = 0; j < OUT; j++) {
        Lanes sum = store ? Lanes{} : total[tile][j], other = {};
        UNROLLED(i, LANES / 2) {
          sum += slope[j * LANES + 2 * i] * rows[2 * i];
          other += slope[j * LANES + 2 * i + 1] * rows[2 * i + 1];
        }
        total[tile][j] = sum + other;
      }
    }
  }

  void input_backward(Lanes *feature_gradient, const float *weight) const {
    for (int start = 0; start < IN; start += INPUTS) {
      const int group = least(start, IN - INPUTS);
      Lanes sum[INPUTS] = {};
      for (int j = 0; j < OUT; j++)
        UNROLLED(i, INPUTS) sum[i] += weight[j * IN + group + i] * gradient[j][0][0];
      UNROLLED(i, INPUTS) feature_gradient[group + i] = sum[i];
    }
  }

  template <class Update>
  void finish(const Update &update) const {
    for (int j = 0; j < OUT; j++) {
      Lanes row[TILES];
      for (int tile = 0; tile < TILES; tile++) row[tile] = total[tile][j];
      update(Weights::WEIGHT + j * IN, flat<const float>(row), IN);
    }
    Weights::template finish_bias<OUT>(bias, update);
  }
};
