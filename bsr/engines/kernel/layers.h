// Every kind of layer, and a network of them.

#pragma once
#include "convolution.h"
#include "elementwise.h"
#include "image.h"
#include "linear.h"

template <class... Layers>
struct Chain;

template <class Layer, class... Rest>
struct Chain<Layer, Rest...> {
  Layer here;
  Chain<Rest...> next;

  void begin(const float *weights) {
    here.begin(weights);
    next.begin(weights);
  }
  template <class Input>
  Lanes forward(const Input &input, const float *weights, const Draws &draws) {
    here.forward(input, weights, draws);
    return next.forward(here.out, weights, draws);
  }
  // `gradient` is that of the prediction.
  template <class Input, class InputGradient>
  void backward(const Input &input, InputGradient *input_gradient, const float *weights, Lanes gradient) {
    next.backward(here.out, &here.gradient, weights, gradient);
    here.backward(input, input_gradient, weights);
  }
  template <class Update>
  void finish(const Update &update) {
    here.finish(update);
    next.finish(update);
  }
};

// What follows the last layer: the prediction.
template <>
struct Chain<> {
  typedef Lanes One[1][1][1];
  void begin(const float *) {}
  Lanes forward(const One &prediction, const float *, const Draws &) { return prediction[0][0][0]; }
  void backward(const One &, One *prediction, const float *, Lanes gradient) { (*prediction)[0][0][0] = gradient; }
  template <class Update>
  void finish(const Update &) {}
};
