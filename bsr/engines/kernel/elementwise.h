// Layers that take each value by itself, or that only give it another place.

#pragma once
#include "layer.h"

// An activation that is no part of the layer before it, or none: what is counted otherwise, border and all.
template <class In, class Out, class Activation, bool FIRST>
struct Elementwise : Weightless {
  static_assert(In::COUNT == Out::COUNT, "a value for each");
  struct Work {
    typename Out::Values out;
    typename Out::Gradient gradient;
  };

  static void forward(const typename In::Values &input, const float *, Work &work, const Draws &) {
    const Lanes *value = flat<const Lanes>(input);
    for (int channel = 0; channel < Out::CHANNELS; channel++)
      for (int row = 0; row < Out::ROWS; row++)
        for (int column = 0; column < Out::COLUMNS; column++)
          work.out[channel][row + Out::BORDER_Y][column + Out::BORDER_X] = Activation::forward(*value++);
  }

  static void backward(const typename In::Values &, typename In::Gradient *input, const float *, Work &work) {
    if constexpr (!FIRST) {
      through_activation<Activation, Out>(work.out, work.gradient, nullptr);
      for (int i = 0; i < In::COUNT; i++) flat<Lanes>(*input)[i] = flat<Lanes>(work.gradient)[i];
    }
  }
};

// Dropout by a generator that counts: what is drawn for a value follows from the seed, the layer, the number of
// the image and the place of the value alone. Threefry-2x32 of 20 rounds (Salmon et al. 2011, "Parallel random
// numbers: as easy as 1, 2, 3").
struct Drawn {
  LaneBits first, second;
};

template <int TIMES>
INLINE LaneBits rotated(LaneBits value) {
  return value << TIMES | value >> (32 - TIMES);
}

template <int ROTATION>
INLINE void threefry_round(Drawn &drawn) {
  drawn.first += drawn.second;
  drawn.second = rotated<ROTATION>(drawn.second) ^ drawn.first;
}

INLINE Drawn threefry(uint32_t key, uint32_t other_key, LaneBits counter, uint32_t other_counter) {
  const uint32_t keys[3] = {key, other_key, 0x1BD11BDAu ^ key ^ other_key};
  Drawn drawn = {counter + key, LaneBits{} + (other_counter + other_key)};
  UNROLL
  for (int group = 0; group < 5; group++) {
    if (group % 2 == 0) {
      threefry_round<13>(drawn);
      threefry_round<15>(drawn);
      threefry_round<26>(drawn);
      threefry_round<6>(drawn);
    } else {
      threefry_round<17>(drawn);
      threefry_round<29>(drawn);
      threefry_round<16>(drawn);
      threefry_round<24>(drawn);
    }
    drawn.first += keys[(group + 1) % 3];
    drawn.second += keys[(group + 2) % 3] + (group + 1);
  }
  return drawn;
}

// KEPT of 2^32 values are kept, and grow so that the sum is expected to stay; NUMBER tells one layer's draws
// from another's.
template <class In, class Out, uint32_t KEPT, int NUMBER, bool FIRST>
struct Dropout : Weightless {
  static_assert(In::COUNT == Out::COUNT, "a value for each");
  static constexpr float GROWTH = KEPT ? 4294967296.0 / KEPT : 0.0;
  struct Work {
    typename Out::Values out;
    typename Out::Gradient gradient, factor;
  };

  static void forward(const typename In::Values &input, const float *, Work &work, const Draws &draws) {
    Lanes *factor = flat<Lanes>(work.factor);
    if (draws.dropping) {
      constexpr int PAIRS = up(Out::COUNT, 2);
      for (int i = 0; i < PAIRS; i++) {
        const uint32_t place = static_cast<uint32_t>(NUMBER) << 24 | i;
        const Drawn drawn = threefry(draws.seed[0], draws.seed[1], draws.image, place);
        const Lanes grown = Lanes{} + GROWTH;
        factor[i] = drawn.first < KEPT ? grown : Lanes{};
        if (Out::COUNT % 2 == 0 || i + PAIRS < Out::COUNT)
          factor[i + PAIRS] = drawn.second < KEPT ? grown : Lanes{};
      }
    } else {
      for (int i = 0; i < Out::COUNT; i++) factor[i] = Lanes{} + 1.0f;
    }
    const Lanes *value = flat<const Lanes>(input);
    for (int channel = 0; channel < Out::CHANNELS; channel++)
      for (int row = 0; row < Out::ROWS; row++)
        for (int column = 0; column < Out::COLUMNS; column++)
          work.out[channel][row + Out::BORDER_Y][column + Out::BORDER_X] = *value++ * *factor++;
  }

  static void backward(const typename In::Values &, typename In::Gradient *input, const float *, Work &work) {
    if constexpr (!FIRST)
      for (int i = 0; i < In::COUNT; i++)
        flat<Lanes>(*input)[i] = flat<Lanes>(work.gradient)[i] * flat<Lanes>(work.factor)[i];
  }
};
