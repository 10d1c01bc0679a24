// How much of a layer is computed at once, chosen at compile time from its shape and the registers there are.

#pragma once
#include "lanes.h"

constexpr int SUMS = REGISTERS == 32 ? 20 : 10;  // registers for sums; the others hold what is added
constexpr int CHUNK_BYTES = 26000;               // of a layer's input, half of a first-level cache
constexpr int LONGEST_SIDE = 6;                  // tiles side by side

constexpr int least(int a, int b) { return a < b ? a : b; }
constexpr int most(int a, int b) { return a > b ? a : b; }
constexpr int up(int a, int b) { return (a + b - 1) / b; }  // a / b, rounded up

// The largest divisor of `count` that is at most `limit`.
constexpr int divisor(int count, int limit) {
  for (int candidate = least(count, limit); candidate > 1; candidate--)
    if (count % candidate == 0) return candidate;
  return 1;
}

// How many of `count` to compute together, at most `limit`: the least waste, then the most. The last group may
// begin inside the one before it.
constexpr int together(int count, int limit) {
  int best = 1, waste = 1 << 30;
  for (int size = least(limit, count); size >= 1; size--) {
    if (size < 4 && best >= 4) break;
    const int computed = up(count, size) * size;
    if (computed < waste) best = size, waste = computed;
  }
  return best;
}

// A block of `side` tiles by `channels`, its sums held in registers.
struct Block {
  int side, channels;
};

// Of a tile of one channel, in one step: sums in registers, multiply-adds, weights to load, places that are
// read once for all tiles, and more of them for each tile.
struct Tile {
  int sums, adds, weights, once, each;
};

// The cheapest block for a row of `tiles` by `channels`: two multiply-adds or loads a cycle, and no fewer than
// 8 sums, so that a multiply-add need not wait for the one before it.
constexpr Block cheapest(int tiles, int channels, Tile tile, int longest_side) {
  Block best = {1, 1};
  double least_cost = 1e30;
  for (int side = 1; side <= least(tiles, longest_side); side++)
    for (int count = 1; count <= channels && side * count * tile.sums <= most(tile.sums, SUMS); count++) {
      const int adds = side * count * tile.adds, loads = count * tile.weights + tile.once + side * tile.each;
      const int waiting = side * count * tile.sums < 8 ? tile.adds / tile.sums * 8 : 0;
      const double blocks = static_cast<double>(up(tiles, side)) * up(channels, count);
      const double cost = blocks * (most(most(adds, loads), waiting) + 0.05 * loads);
      if (cost < least_cost) least_cost = cost, best = {side, count};
    }
  return best;
}
