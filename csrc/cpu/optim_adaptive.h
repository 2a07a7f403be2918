#pragma once
// The adaptive rules: each is made for one parameter and one step, and gives the parameter p where the gradient is g
// and the state s, which it moves. t counts steps from 1; numbers of the step are computed in double, once.
#include "cpu/optim_walk.h"

namespace dd2424::cpu::DD2424_ISA {
namespace {

struct Step {
  double lr, t, product;  // product: nadam's, of the momenta before this step
};
inline double power(double base, double exponent) { return __builtin_pow(base, exponent); }

// m moves towards g by `share`.
template <class V>
inline V towards(V m, V g, V share) {
  return fma(share, g - m, m);
}

// m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps), where
// amsgrad has the largest v so far.  s: m, v, largest v. (Kingma and Ba, arXiv:1412.6980, algorithm 1)
template <class L>
struct Adam {
  static constexpr int states = 3;
  using V = Vec<L>;
  V share, stays, adds, root, eps, step;
  bool amsgrad;
  Adam(const AdaptiveOptions& o, const Step& at)
      : share(broadcast(static_cast<L>(1 - o.beta1))),
        stays(broadcast(static_cast<L>(o.beta2))),
        adds(broadcast(static_cast<L>(1 - o.beta2))),
        root(broadcast(static_cast<L>(__builtin_sqrt(1 - power(o.beta2, at.t))))),
        eps(broadcast(static_cast<L>(o.eps))),
        step(broadcast(static_cast<L>(-at.lr / (1 - power(o.beta1, at.t))))),
        amsgrad(o.variant) {}
  V operator()(V p, V g, V (&s)[states]) const {
    s[0] = towards(s[0], g, share);
    s[1] = fma(stays, s[1], adds * g * g);
    if (amsgrad) s[2] = larger(s[1], s[2]);
    return fma(step, s[0] / (sqrt(amsgrad ? s[2] : s[1]) / root + eps), p);
  }
};

// Adam with a step of Nesterov's: b1 becomes mu_t = b1 (1 - 0.96^(t * momentum_decay) / 2), and what the mean will be
// in the next step is taken already.  s: m, v. (Dozat, "Incorporating Nesterov Momentum into Adam", 2016)
template <class L>
struct NAdam {
  static constexpr int states = 2;
  using V = Vec<L>;
  V share, stays, adds, correction, eps, of_gradient, of_mean;
  static double momentum(const AdaptiveOptions& o, double t) { return o.beta1 * (1 - 0.5 * power(0.96, t * o.decay)); }
  NAdam(const AdaptiveOptions& o, const Step& at)
      : share(broadcast(static_cast<L>(1 - o.beta1))),
        stays(broadcast(static_cast<L>(o.beta2))),
        adds(broadcast(static_cast<L>(1 - o.beta2))),
        correction(broadcast(static_cast<L>(1 - power(o.beta2, at.t)))),
        eps(broadcast(static_cast<L>(o.eps))) {
    const double now = momentum(o, at.t), next = momentum(o, at.t + 1), product = at.product * now;
    of_gradient = broadcast(static_cast<L>(-at.lr * (1 - now) / (1 - product)));
    of_mean = broadcast(static_cast<L>(-at.lr * next / (1 - product * next)));
  }
  V operator()(V p, V g, V (&s)[states]) const {
    s[0] = towards(s[0], g, share);
    s[1] = fma(stays, s[1], adds * g * g);
    const V scale = sqrt(s[1] / correction) + eps;
    return fma(of_mean, s[0] / scale, fma(of_gradient, g / scale, p));
  }
};

// Adam whose step is rectified while the variance of its scale is large, and plain momentum while that is unbounded.
// s: m, v. (Liu et al., arXiv:1908.03265, algorithm 2)
template <class L>
struct RAdam {
  static constexpr int states = 2;
  using V = Vec<L>;
  V share, stays, adds, eps, step;
  bool adapts;
  RAdam(const AdaptiveOptions& o, const Step& at)
      : share(broadcast(static_cast<L>(1 - o.beta1))),
        stays(broadcast(static_cast<L>(o.beta2))),
        adds(broadcast(static_cast<L>(1 - o.beta2))),
        eps(broadcast(static_cast<L>(o.eps))) {
    const double left = power(o.beta2, at.t), limit = 2 / (1 - o.beta2) - 1;
    const double length = limit - 2 * at.t * left / (1 - left);
    adapts = length > 5;
    double rate = -at.lr / (1 - power(o.beta1, at.t));
    if (adapts)
      rate *= __builtin_sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length) * (1 - left));
    step = broadcast(static_cast<L>(rate));
  }
  V operator()(V p, V g, V (&s)[states]) const {
    s[0] = towards(s[0], g, share);
    s[1] = fma(stays, s[1], adds * g * g);
    return fma(step, adapts ? s[0] / (sqrt(s[1]) + eps) : s[0], p);
  }
};

// u = max(b2 u, |g| + eps);  p -= lr / (1 - b1^t) * m / u.  s: m, u. (Kingma and Ba, algorithm 2)
template <class L>
struct Adamax {
  static constexpr int states = 2;
  using V = Vec<L>;
  V share, stays, eps, step;
  Adamax(const AdaptiveOptions& o, const Step& at)
      : share(broadcast(static_cast<L>(1 - o.beta1))),
        stays(broadcast(static_cast<L>(o.beta2))),
        eps(broadcast(static_cast<L>(o.eps))),
        step(broadcast(static_cast<L>(-at.lr / (1 - power(o.beta1, at.t))))) {}
  V operator()(V p, V g, V (&s)[states]) const {
    s[0] = towards(s[0], g, share);
    s[1] = larger(absolute(g) + eps, stays * s[1]);
    return fma(step, s[0] / s[1], p);
  }
};

// v = a v + (1 - a) g^2;  d = g / (sqrt(v) + eps), v less the square of g's mean where centered;  with momentum
// b = momentum b + d in place of d;  p -= lr d.  s: v, b or null, mean or null. (Hinton, lecture 6e; Graves, 1308.0850)
template <class L>
struct RmsProp {
  static constexpr int states = 3;
  using V = Vec<L>;
  V stays, adds, eps, momentum, step;
  bool centered, has_momentum;
  RmsProp(const AdaptiveOptions& o, const Step& at)
      : stays(broadcast(static_cast<L>(o.beta2))),
        adds(broadcast(static_cast<L>(1 - o.beta2))),
        eps(broadcast(static_cast<L>(o.eps))),
        momentum(broadcast(static_cast<L>(o.momentum))),
        step(broadcast(static_cast<L>(-at.lr))),
        centered(o.variant),
        has_momentum(o.momentum > 0) {}
  V operator()(V p, V g, V (&s)[states]) const {
    s[0] = fma(stays, s[0], adds * g * g);
    V square = s[0];
    if (centered) {
      s[2] = towards(s[2], g, adds);
      square = larger(fma(-s[2], s[2], square), V{});  // rounding may leave less than nothing
    }
    V d = g / (sqrt(square) + eps);
    if (has_momentum) d = s[1] = fma(momentum, s[1], d);
    return fma(step, d, p);
  }
};

// v += g^2;  p -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(v) + eps).  s: v. (Duchi, Hazan and Singer, JMLR 2011)
template <class L>
struct Adagrad {
  static constexpr int states = 1;
  using V = Vec<L>;
  V eps, step;
  Adagrad(const AdaptiveOptions& o, const Step& at)
      : eps(broadcast(static_cast<L>(o.eps))), step(broadcast(static_cast<L>(-at.lr / (1 + (at.t - 1) * o.decay)))) {}
  V operator()(V p, V g, V (&s)[states]) const {
    s[0] = fma(g, g, s[0]);
    return fma(step, g / (sqrt(s[0]) + eps), p);
  }
};

// v = rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;  u = rho u + (1 - rho) d^2;  p -= lr d.  s: v, u.
// (Zeiler, arXiv:1212.5701, algorithm 1)
template <class L>
struct Adadelta {
  static constexpr int states = 2;
  using V = Vec<L>;
  V stays, adds, eps, step;
  Adadelta(const AdaptiveOptions& o, const Step& at)
      : stays(broadcast(static_cast<L>(o.beta2))),
        adds(broadcast(static_cast<L>(1 - o.beta2))),
        eps(broadcast(static_cast<L>(o.eps))),
        step(broadcast(static_cast<L>(-at.lr))) {}
  V operator()(V p, V g, V (&s)[states]) const {
    s[0] = fma(stays, s[0], adds * g * g);
    const V d = sqrt(s[1] + eps) / sqrt(s[0] + eps) * g;
    s[1] = fma(stays, s[1], adds * d * d);
    return fma(step, d, p);
  }
};

// One rule over elements begin ... end - 1.

template <class T, class Rule>
void adaptive_range(const AdaptiveParameter<T>& a, const AdaptiveOptions& o, const Step& at, Index begin, Index end) {
  using L = Lane<T>;
  using V = Vec<L>;
  const Rule rule(o, at);
  const V sign = broadcast(static_cast<L>(o.maximize ? -1 : 1));
  const V decay = broadcast(static_cast<L>(o.weight_decay)),
          kept = broadcast(static_cast<L>(1 - at.lr * o.weight_decay));
  const bool decays = o.weight_decay != 0;
  for (Index i = begin; i < end; i += kLanes<L>) {
    const Index count = end - i < kLanes<L> ? end - i : kLanes<L>;
    V p = load_some(a.parameter + i, count), g = load_some(a.gradient + i, count) * sign, s[Rule::states];
    for (int k = 0; k < Rule::states; ++k) s[k] = a.state[k] ? load_some(a.state[k] + i, count) : V{};
    if (decays && o.decoupled) p *= kept;
    else if (decays) g = fma(decay, p, g);
    p = rule(p, g, s);
    store_some(a.parameter + i, p, count);
    for (int k = 0; k < Rule::states; ++k)
      if (a.state[k]) store_some(a.state[k] + i, s[k], count);
  }
}

template <class T>
using AdaptiveRange = void (*)(const AdaptiveParameter<T>&, const AdaptiveOptions&, const Step&, Index, Index);

template <class T, class L = Lane<T>>
constexpr AdaptiveRange<T> kAdaptiveRanges[kAdaptiveRules]{// in the order of AdaptiveRule
                                                           adaptive_range<T, Adam<L>>,    adaptive_range<T, NAdam<L>>,
                                                           adaptive_range<T, RAdam<L>>,   adaptive_range<T, Adamax<L>>,
                                                           adaptive_range<T, RmsProp<L>>, adaptive_range<T, Adagrad<L>>,
                                                           adaptive_range<T, Adadelta<L>>};

}  // namespace
}  // namespace dd2424::cpu::DD2424_ISA
