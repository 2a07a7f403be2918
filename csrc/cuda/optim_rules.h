#pragma once
#include <math.h>

#include "core/optim.h"
#include "cuda/launch.h"
#include "cuda/value.h"

// The adaptive rules, as in cpu/optim_adaptive.h: what a rule needs to know of a step is worked out once, in double;
// then it gives the parameter p where the gradient is g and the state s, which it moves.
namespace dd2424::cuda {
namespace {

struct Step {
  double lr, t, product;  // product: nadam's, of the momenta before this step
};

template <class C>
__device__ inline C towards(C m, C g, C share) {
  return fma(share, g - m, m);
}
template <class C>
__device__ inline C larger(C a, C b) {  // NaN wins
  return a > b || a != a ? a : b;
}

template <class C>
struct Adam {
  static constexpr int kStates = 3;
  C share, stays, adds, root, eps, step;
  bool amsgrad;
  __device__ static Adam of(const AdaptiveOptions& o, const Step& at) {
    return {C(1 - o.beta1), C(o.beta2),
            C(1 - o.beta2), C(sqrt(1 - pow(o.beta2, at.t))),
            C(o.eps),       C(-at.lr / (1 - pow(o.beta1, at.t))),
            o.variant};
  }
  __device__ C operator()(C p, C g, C (&s)[kStates]) const {
    s[0] = towards(s[0], g, share);
    s[1] = fma(stays, s[1], adds * g * g);
    if (amsgrad) s[2] = larger(s[1], s[2]);
    return fma(step, s[0] / (sqrt(amsgrad ? s[2] : s[1]) / root + eps), p);
  }
};

__device__ inline double nadam_momentum(const AdaptiveOptions& o, double t) {
  return o.beta1 * (1 - 0.5 * pow(0.96, t * o.decay));
}
template <class C>
struct NAdam {
  static constexpr int kStates = 2;
  C share, stays, adds, correction, eps, of_gradient, of_mean;
  __device__ static NAdam of(const AdaptiveOptions& o, const Step& at) {
    const double now = nadam_momentum(o, at.t), next = nadam_momentum(o, at.t + 1), product = at.product * now;
    return {C(1 - o.beta1),
            C(o.beta2),
            C(1 - o.beta2),
            C(1 - pow(o.beta2, at.t)),
            C(o.eps),
            C(-at.lr * (1 - now) / (1 - product)),
            C(-at.lr * next / (1 - product * next))};
  }
  __device__ C operator()(C p, C g, C (&s)[kStates]) const {
    s[0] = towards(s[0], g, share);
    s[1] = fma(stays, s[1], adds * g * g);
    const C scale = sqrt(s[1] / correction) + eps;
    return fma(of_mean, s[0] / scale, fma(of_gradient, g / scale, p));
  }
};

template <class C>
struct RAdam {
  static constexpr int kStates = 2;
  C share, stays, adds, eps, step;
  bool adapts;
  __device__ static RAdam of(const AdaptiveOptions& o, const Step& at) {
    const double left = pow(o.beta2, at.t), limit = 2 / (1 - o.beta2) - 1;
    const double length = limit - 2 * at.t * left / (1 - left);
    double rate = -at.lr / (1 - pow(o.beta1, at.t));
    if (length > 5)
      rate *= sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length) * (1 - left));
    return {C(1 - o.beta1), C(o.beta2), C(1 - o.beta2), C(o.eps), C(rate), length > 5};
  }
  __device__ C operator()(C p, C g, C (&s)[kStates]) const {
    s[0] = towards(s[0], g, share);
    s[1] = fma(stays, s[1], adds * g * g);
    return fma(step, adapts ? s[0] / (sqrt(s[1]) + eps) : s[0], p);
  }
};

template <class C>
struct Adamax {
  static constexpr int kStates = 2;
  C share, stays, eps, step;
  __device__ static Adamax of(const AdaptiveOptions& o, const Step& at) {
    return {C(1 - o.beta1), C(o.beta2), C(o.eps), C(-at.lr / (1 - pow(o.beta1, at.t)))};
  }
  __device__ C operator()(C p, C g, C (&s)[kStates]) const {
    s[0] = towards(s[0], g, share);
    s[1] = larger(fabs(g) + eps, stays * s[1]);
    return fma(step, s[0] / s[1], p);
  }
};

template <class C>
struct RmsProp {
  static constexpr int kStates = 3;
  C stays, adds, eps, momentum, step;
  bool centered, has_momentum;
  __device__ static RmsProp of(const AdaptiveOptions& o, const Step& at) {
    return {C(o.beta2), C(1 - o.beta2), C(o.eps), C(o.momentum), C(-at.lr), o.variant, o.momentum > 0};
  }
  __device__ C operator()(C p, C g, C (&s)[kStates]) const {
    s[0] = fma(stays, s[0], adds * g * g);
    C square = s[0];
    if (centered) {
      s[2] = towards(s[2], g, adds);
      square = larger(fma(-s[2], s[2], square), C(0));  // rounding may leave less than nothing
    }
    C d = g / (sqrt(square) + eps);
    if (has_momentum) d = s[1] = fma(momentum, s[1], d);
    return fma(step, d, p);
  }
};

template <class C>
struct Adagrad {
  static constexpr int kStates = 1;
  C eps, step;
  __device__ static Adagrad of(const AdaptiveOptions& o, const Step& at) {
    return {C(o.eps), C(-at.lr / (1 + (at.t - 1) * o.decay))};
  }
  __device__ C operator()(C p, C g, C (&s)[kStates]) const {
    s[0] = fma(g, g, s[0]);
    return fma(step, g / (sqrt(s[0]) + eps), p);
  }
};

template <class C>
struct Adadelta {
  static constexpr int kStates = 2;
  C stays, adds, eps, step;
  __device__ static Adadelta of(const AdaptiveOptions& o, const Step& at) {
    return {C(o.beta2), C(1 - o.beta2), C(o.eps), C(-at.lr)};
  }
  __device__ C operator()(C p, C g, C (&s)[kStates]) const {
    s[0] = fma(stays, s[0], adds * g * g);
    const C d = sqrt(s[1] + eps) / sqrt(s[0] + eps) * g;
    s[1] = fma(stays, s[1], adds * d * d);
    return fma(step, d, p);
  }
};

}  // namespace
}  // namespace dd2424::cuda
