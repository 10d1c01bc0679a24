// A linear layer. Its weights' gradient has features in lanes, and the multiply-adds sum over the images.

#pragma once
#include "layer.h"

template <class In, int OUT, class Weights, class Activation, bool FIRST>
struct Linear {
  typedef Map<OUT, 1, 1> Out;
  static constexpr int IN = In::COUNT, TILES = up(IN, LANES);
  static constexpr int OUTPUTS = together(OUT, REGISTERS == 32 ? 16 : 10);
  static constexpr int INPUTS = IN % 16 == 0 && REGISTERS == 32 ? 16 : together(IN, SUMS);
  struct Work {
    typename Out::Values out;
    typename Out::Gradient gradient;
    Lanes bias[OUT];
    Lanes total[TILES][OUT];
    bool fresh;  // whether the block is its batch's first: totals are stored then, and later added to
  };

  static void begin(const float *, Work &work) {
    for (Lanes &bias : work.bias) bias = Lanes{};
    work.fresh = true;
  }

  static void forward(const typename In::Values &input, const float *weights, Work &work, const Draws &) {
    const float *const weight = weights + Weights::WEIGHT;
    const Lanes *const feature = flat<const Lanes>(input);
    for (int start = 0; start < OUT; start += OUTPUTS) {
      const int group = least(start, OUT - OUTPUTS);
      Lanes sum[OUTPUTS];
      UNROLL
      for (int i = 0; i < OUTPUTS; i++) sum[i] = Lanes{} + Weights::bias(weights, group + i);
      for (int k = 0; k < IN; k++)
        UNROLL
        for (int i = 0; i < OUTPUTS; i++) sum[i] += weight[(group + i) * IN + k] * feature[k];
      UNROLL
      for (int i = 0; i < OUTPUTS; i++) work.out[group + i][0][0] = Activation::forward(sum[i]);
    }
  }

  static void backward(const typename In::Values &input, typename In::Gradient *input_gradient,
                       const float *weights, Work &work) {
    through_activation<Activation, Out>(work.out, work.gradient, work.bias);
    weights_backward(flat<const Lanes>(input), work, work.fresh);
    work.fresh = false;
    if constexpr (!FIRST) input_backward(flat<Lanes>(*input_gradient), weights + Weights::WEIGHT, work);
  }

  static void weights_backward(const Lanes *feature, Work &work, bool fresh) {
    const float *const gradient = flat<float>(work.gradient);
    for (int tile = 0; tile < TILES; tile++) {
      Lanes rows[LANES];
      UNROLL
      for (int i = 0; i < LANES; i++) {
        const int k = tile * LANES + i;
        rows[i] = IN % LANES == 0 || k < IN ? feature[k] : Lanes{};
      }
      transpose(rows);
      for (int j = 0; j < OUT; j++) {
        Lanes sum = fresh ? Lanes{} : work.total[tile][j], other = {};
        UNROLL
        for (int i = 0; i < LANES; i += 2) {
          sum += gradient[j * LANES + i] * rows[i];
          other += gradient[j * LANES + i + 1] * rows[i + 1];
        }
        work.total[tile][j] = sum + other;
      }
    }
  }

  static void input_backward(Lanes *feature_gradient, const float *weight, const Work &work) {
    for (int start = 0; start < IN; start += INPUTS) {
      const int group = least(start, IN - INPUTS);
      Lanes sum[INPUTS] = {};
      for (int j = 0; j < OUT; j++)
        UNROLL
        for (int i = 0; i < INPUTS; i++) sum[i] += weight[j * IN + group + i] * work.gradient[j][0][0];
      UNROLL
      for (int i = 0; i < INPUTS; i++) feature_gradient[group + i] = sum[i];
    }
  }

  template <class Update>
  static void finish(Work &work, const Update &update) {
    constexpr int WHOLE = IN / LANES, REST = IN % LANES;
    for (int j = 0; j < OUT; j++) {
      const int row = Weights::WEIGHT + j * IN;
      for (int tile = 0; tile < WHOLE; tile++)
        update.lanes(row + tile * LANES, flat<float>(work.total[tile][j]));
      if constexpr (REST) update(row + WHOLE * LANES, flat<float>(work.total[WHOLE][j]), REST);
    }
    if constexpr (Weights::BIAS >= 0) {
      float bias[OUT];
      sum_many<OUT>(work.bias, bias);
      update(Weights::BIAS, bias, OUT);
    }
  }
};
