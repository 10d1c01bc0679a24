// Layers that take each value by itself, or that only give it another place.

#pragma once
#include "layer.h"

// An activation that is no part of the layer before it, or none: what is counted otherwise, border and all.
template <class In, class Out, class Activation, bool FIRST>
struct Elementwise : Weightless {
  static_assert(In::COUNT == Out::COUNT, "a value for each");
  typename Out::Values out;
  typename Out::Gradient gradient;

  void forward(const typename In::Values &input, const float *, const Draws &) {
    const Lanes *value = flat<const Lanes>(input);
    Out::each([&](int channel, int row, int column) {
      Out::at(out, channel, row, column) = Activation::forward(*value++);
    });
  }

  void backward(const typename In::Values &, typename In::Gradient *input, const float *) {
    if constexpr (FIRST) return;
    through_activation<Activation, Out>(out, gradient);
    for (int i = 0; i < In::COUNT; i++) flat<Lanes>(*input)[i] = flat<Lanes>(gradient)[i];
  }
};

// Dropout by a generator that counts: what is drawn for a value follows from the seed, the layer, the number of
// the image and the place of the value alone. Threefry-2x32 of 20 rounds (Salmon et al. 2011, "Parallel random
// numbers: as easy as 1, 2, 3").
struct Drawn {
  LaneBits first, second;
};

static INLINE Drawn threefry(const uint32_t (&key)[2], LaneBits counter, uint32_t other_counter) {
  constexpr int ROTATIONS[] = {13, 15, 26, 6, 17, 29, 16, 24};
  const uint32_t keys[3] = {key[0], key[1], 0x1BD11BDAu ^ key[0] ^ key[1]};
  Drawn drawn = {counter + key[0], LaneBits{} + (other_counter + key[1])};
  UNROLLED(round, 20) {
    const int times = ROTATIONS[round % 8], group = round / 4 + 1;
    drawn.first += drawn.second;
    drawn.second = (drawn.second << times | drawn.second >> (32 - times)) ^ drawn.first;
    if (round % 4 == 3) {
      drawn.first += keys[group % 3];
      drawn.second += keys[(group + 1) % 3] + group;
    }
  }
  return drawn;
}

// KEPT of 2^32 values are kept, and grow so that the sum is expected to stay; NUMBER tells one layer's draws
// from another's.
template <class In, class Out, uint32_t KEPT, int NUMBER, bool FIRST>
struct Dropout : Weightless {
  static_assert(In::COUNT == Out::COUNT, "a value for each");
  static constexpr float GROWTH = KEPT ? 4294967296.0 / KEPT : 0.0;
  static constexpr int PAIRS = up(Out::COUNT, 2);
  typename Out::Values out;
  typename Out::Gradient gradient;
  Lanes factor[2 * PAIRS];

  void forward(const typename In::Values &input, const float *, const Draws &draws) {
    const Lanes grown = Lanes{} + GROWTH;
    for (int i = 0; i < PAIRS; i++) {
      factor[i] = factor[i + PAIRS] = Lanes{} + 1.0f;
      if (!draws.dropping) continue;
      const Drawn drawn = threefry(draws.seed, draws.image, static_cast<uint32_t>(NUMBER) << 24 | i);
      factor[i] = drawn.first < KEPT ? grown : Lanes{};
      factor[i + PAIRS] = drawn.second < KEPT ? grown : Lanes{};
    }
    int i = 0;
    Out::each([&](int channel, int row, int column) {
      Out::at(out, channel, row, column) = flat<const Lanes>(input)[i] * factor[i], i++;
    });
  }

  void backward(const typename In::Values &, typename In::Gradient *input, const float *) {
    if constexpr (FIRST) return;
    for (int i = 0; i < In::COUNT; i++) flat<Lanes>(*input)[i] = flat<Lanes>(gradient)[i] * factor[i];
  }
};
