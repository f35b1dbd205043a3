#!/usr/bin/env python3
"""The recurrence of MM-Rec as PyTorch users would write it, a loop over time: the optional yardstick of tests/gpu/run.

a_t = s(Wg h_{t-1} + bg), m_t = s(Wm z_t + Um h_{t-1} + bm), h_t = z_t a_t + gamma_t h_{t-1} + 0.1 n_t with
n_t = (1 - m_t) h_{t-1} + m_t z_t + gamma_t h_{t-1} (host/ops/recurrence.c): forward, and forward + backward, median of 20
runs by events. The product Wm z_t is made for all t at once before the loop, as here."""
import json
import statistics

import torch

WARM_UP, RUNS = 3, 20


def loop(z, gamma, w, h):
    gates = torch.nn.functional.linear(z, w["m"], w["bm"])
    out = []
    for t in range(z.shape[1]):
        a = torch.sigmoid(torch.nn.functional.linear(h, w["g"], w["bg"]))
        m = torch.sigmoid(gates[:, t] + h @ w["u"].T)
        kept = gamma[:, t] * h
        h = z[:, t] * a + kept + 0.1 * ((1 - m) * h + m * z[:, t] + kept)
        out.append(h)
    return torch.stack(out, dim=1)


def timed(run):
    times = []
    for i in range(WARM_UP + RUNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        if i >= WARM_UP:
            times.append(begin.elapsed_time(end) * 1e6)
    return statistics.median(times)


def measure(dim, batch, time):
    def make(*shape, scale=1.0):
        return (scale * torch.randn(*shape, device="cuda")).requires_grad_()

    w = {name: make(dim, dim, scale=dim**-0.5) for name in ("g", "m", "u")}
    w |= {name: make(dim) for name in ("bg", "bm")}
    z, h = make(batch, time, dim), torch.zeros(batch, dim, device="cuda")
    gamma = (0.05 + 0.4 * torch.rand(batch, time, dim, device="cuda")).requires_grad_()
    with torch.no_grad():
        forward = timed(lambda: loop(z, gamma, w, h))
    both = timed(lambda: loop(z, gamma, w, h).square().mean().backward())
    return {"dim": dim, "batch": batch, "time": time, "forward_ns": forward, "forward_backward_ns": both}


if __name__ == "__main__":
    rows = [measure(dim, batch, 1024) for dim in (512, 1024, 2048) for batch in (1, 16)]
    print(json.dumps({"torch": torch.__version__, "rows": rows}, indent=1))
