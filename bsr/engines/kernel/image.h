// A block of images enters the lanes: a row of pixels per image becomes a row of images per pixel.

#pragma once
#include "layer.h"

template <class Pixel_, class Out>
struct Image {
  static constexpr int PIXELS = Out::COUNT;
  typedef Pixel_ Pixel;
  typedef typename Out::Gradient Gradient;
  typedef typename VectorOf<Pixel>::Type Row;
  Row pixels[PIXELS];
  typename Out::Values out;

  void load(const Pixel *const (&images)[LANES]) {
    if constexpr (PIXELS < LANES) {
      for (int pixel = 0; pixel < PIXELS; pixel++)
        for (int lane = 0; lane < LANES; lane++) pixels[pixel][lane] = images[lane][pixel];
    } else {
      for (int start = 0; start < PIXELS; start += LANES) {
        const int pixel = least(start, PIXELS - LANES);  // the last tile may overlap the one before
        Row tile[LANES];
        UNROLLED(lane, LANES) __builtin_memcpy(&tile[lane], images[lane] + pixel, sizeof(Row));
        transpose(tile);
        UNROLLED(i, LANES) pixels[pixel + i] = tile[i];
      }
    }
    // flat, because GCC widens bytes well in loops and badly in vectors
    const Pixel *pixel = flat<Pixel>(pixels);
    for (int channel = 0; channel < Out::CHANNELS; channel++)
      for (int row = 0; row < Out::ROWS; row++, pixel += Out::COLUMNS * LANES) {
        float *const place = flat<float>(Out::at(out, channel, row, 0));
        for (int i = 0; i < Out::COLUMNS * LANES; i++) place[i] = pixel[i];
      }
  }
};
