#!/usr/bin/env python3
"""Known answers for the op harness: every op once or twice, in plain Python from its formula, apart from the C code.

Run in this folder to write <op>.txt again. The harness compares the double reference with them to 1e-12."""
import math
import random

random.seed(7)
HARNESS_SEED = 20240607  # tests/ops/harness.h


def numbers(count, low=-2.0, high=2.0):
    return [round(random.uniform(low, high), 3) for _ in range(count)]


def matrix(values, columns):
    return [values[i:i + columns] for i in range(0, len(values), columns)]


def flat(rows):
    return [x for row in rows for x in (flat(row) if isinstance(row, list) else [row])]


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def softmax(row):
    top = max(row)
    e = [math.exp(x - top) for x in row]
    return [x / math.fsum(e) for x in e]


def gelu(v):
    return v * 0.5 * math.erfc(-v / math.sqrt(2))


def philox(seed, stream, index):
    """Four words of Philox 4x32-10 (Salmon et al., SC'11)."""
    c = [index & 0xFFFFFFFF, index >> 32, stream & 0xFFFFFFFF, stream >> 32]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def dropout(values, p, stream):
    """Kept where the number of the element, the 23 high bits of its word and a half, is at least p."""
    words = [philox(HARNESS_SEED, stream, i // 4)[i % 4] for i in range(len(values))]
    return [v / (1 - p) if ((w >> 9) + 0.5) / 2 ** 23 >= p else 0.0 for v, w in zip(values, words)]


class Answers:
    def __init__(self, op):
        self.file = open(op + ".txt", "w")

    def sample(self, text, **arrays):
        print("sample", text, file=self.file)
        for name, values in arrays.items():
            kind, _, arg = name.partition("_")
            print(kind, arg, *(repr(v) for v in flat(values)), file=self.file)


def none(op, reason):
    Answers(op).file.write("none: %s\n" % reason)


none("fill", "its value is the attribute, which test_op_values.c checks")
none("randn", "its numbers are those of rng.h, which test_rng.c holds to published ones")

a, b = matrix(numbers(6), 3), matrix(numbers(12), 4)
Answers("matmul").sample("N=2 K=3 F=4", in_a=a, in_b=b, out_c=[[dot(r, c) for c in zip(*b)] for r in a])

x, w, bias = matrix(numbers(12), 3), matrix(numbers(6), 3), numbers(2)
answers = Answers("linear")
answers.sample("B=2 T=2 D=3 F=2", in_x=x, in_weight=w, in_bias=bias,
               out_y=[[dot(r, o) + c for o, c in zip(w, bias)] for r in x])
answers.sample("B=2 T=2 D=3 F=2 -bias", in_x=x, in_weight=w, out_y=[[dot(r, o) for o in w] for r in x])

table, ids = matrix(numbers(12), 3), [3, 0, 0, 1, 2, 3]
Answers("embedding").sample("B=2 T=3 V=4 D=3", in_ids=ids, in_table=table, out_x=[table[i] for i in ids])

x, w, bias = matrix(numbers(10), 5), numbers(5), numbers(5)
rms = [math.sqrt(dot(r, r) / 5) for r in x]
Answers("rmsnorm").sample("N=2 D=5 eps=0.25", in_x=x, in_weight=w,
                          out_y=[[c * v / (s + 0.25) for c, v in zip(w, r)] for r, s in zip(x, rms)])


def normal(row, eps):
    mean = math.fsum(row) / len(row)
    return [(v - mean) / math.sqrt(math.fsum((u - mean) ** 2 for u in row) / len(row) + eps) for v in row]


Answers("layernorm").sample("N=2 D=5 eps=0.25", in_x=x, in_weight=w, in_bias=bias,
                            out_y=[[v * c + d for v, c, d in zip(normal(r, 0.25), w, bias)] for r in x])

x = numbers(6, -3, 3)
gelu_answers = Answers("gelu")
gelu_answers.sample("N=2 D=3", in_x=x, out_y=[gelu(v) for v in x])
Answers("relu").sample("N=2 D=3", in_x=x, out_y=[max(v, 0.0) for v in x])
Answers("narrow").sample("N=2 D=3", in_x=x, out_y=x)
Answers("widen").sample("N=2 D=3", in_x=x, out_y=x)
Answers("softmax").sample("N=2 D=3", in_x=x, out_y=[softmax(r) for r in matrix(x, 3)])

inputs = [numbers(3) for _ in range(4)]
combine_answers = Answers("combine")
combine_answers.sample("N=1 D=3 c0=0.5 c2=-2 c7=0.1 -x1 -x3 -x4 -x5", in_x0=inputs[0], in_x2=inputs[1],
                       in_x6=inputs[2], in_x7=inputs[3],
                       out_y=[0.5 * p - 2 * q + r + 0.1 * s for p, q, r, s in zip(*inputs)])


def clamp(g):
    return min(max(g, 1e-6), 1 - 1e-6)


a, b = [0.5, -1.25, 30.0, -30.0], [1.5, 2.0, 40.0, 0.25]
answers = Answers("decay_gate")
answers.sample("N=2 D=2", in_a=a, in_b=b, out_gamma=[clamp(sigmoid(p) * sigmoid(q)) for p, q in zip(a, b)])
answers.sample("N=2 D=2 -b", in_a=a, out_gamma=[clamp(sigmoid(p)) for p in a])


def recurrence(z, gamma, h, wg, bg, wm, bm):
    """One sequence; returns h and n of every step."""
    width, out, mdi = len(h), [], []
    for zt, gt in zip(z, gamma):
        gate = [sigmoid(dot(wg[i], h) + bg[i]) for i in range(width)]
        mix = [sigmoid(dot(wm[i], zt + h) + bm[i]) for i in range(width)]
        n = [(1 - mix[i]) * h[i] + mix[i] * zt[i] + gt[i] * h[i] for i in range(width)]
        h = [zt[i] * gate[i] + gt[i] * h[i] + 0.1 * n[i] for i in range(width)]
        out.append(h)
        mdi.append(n)
    return out, mdi


z, gamma, h0 = matrix(matrix(numbers(18), 3), 3), matrix(matrix(numbers(18, 0.1, 0.9), 3), 3), matrix(numbers(6), 3)
wg, bg, wm, bm = matrix(numbers(9, -0.5, 0.5), 3), numbers(3), matrix(numbers(18, -0.5, 0.5), 6), numbers(3)
runs = [recurrence(z[b], gamma[b], h0[b], wg, bg, wm, bm) for b in range(2)]
Answers("recurrence").sample("B=2 T=3 D=3", in_z=z, in_gamma=gamma, in_h0=h0, in_gate_weight=wg, in_gate_bias=bg,
                             in_mdi_weight=wm, in_mdi_bias=bm, out_h=[r[0] for r in runs], out_n=[r[1] for r in runs])

h = matrix(matrix(numbers(12), 2), 3)
Answers("shift").sample("B=2 T=3 D=2", in_h=h, in_h0=h0[0][:2] + h0[1][:2],
                        out_h_prev=[[h0[b][:2]] + h[b][:-1] for b in range(2)])
Answers("last_step").sample("B=2 T=3 D=2", in_h=h, out_h_last=[s[-1] for s in h])


def pool(m, group):
    return [[math.fsum(c) / group for c in zip(*m[i:i + group])] for i in range(0, len(m), group)]


m = matrix(numbers(64), 2)
answers = Answers("memory_pool")
answers.sample("S=32 D=2 level=2", in_m=m, out_pooled=pool(m, 16))
answers.sample("N=2 S=16 D=2 level=1", in_m=m, out_pooled=[pool(m[:16], 4), pool(m[16:], 4)])
answers.sample("S=32 D=2 level=0", in_m=m, out_pooled=m)


def attention(query, key, value, heads):
    """One row of queries against one memory."""
    width, out = len(query) // heads, []
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        p = softmax([dot(query[own], k[own]) / math.sqrt(width) for k in key])
        out += [dot(p, column) for column in zip(*(v[own] for v in value))]
    return out


query, key, value = matrix(matrix(numbers(24), 4), 3), matrix(matrix(numbers(16), 4), 2), matrix(matrix(numbers(16), 4), 2)
answers = Answers("memory_attention")
answers.sample("B=2 N=2 T=3 M=2 D=4 heads=2", in_query=query, in_key=key, in_value=value,
               out_ctx=[[attention(q, key[b], value[b], 2) for q in query[b]] for b in range(2)])
answers.sample("B=2 T=3 M=2 D=4 heads=1", in_query=query, in_key=key[0], in_value=value[0],
               out_ctx=[[attention(q, key[0], value[0], 1) for q in query[b]] for b in range(2)])


def update(m, y, decay):
    mean = [math.fsum(c) / len(y) for c in zip(*y)]
    return [[decay * v + (1 - decay) * s for v, s in zip(slot, mean)] for slot in m]


m, y = matrix(matrix(numbers(8), 2), 2), matrix(matrix(numbers(12), 2), 3)
answers = Answers("memory_update")
answers.sample("B=2 N=2 T=3 S=2 D=2 decay=0.75", in_m=m, in_y=y, out_m_next=[update(m[b], y[b], 0.75) for b in range(2)])
answers.sample("B=2 N=1 T=3 S=2 D=2 decay=0", in_m=m[0], in_y=y, out_m_next=[update(m[0], y[b], 0) for b in range(2)])
answers.sample("B=2 T=3 S=2 D=2", in_m=m[0], in_y=y, out_m_next=[update(m[0], y[b], 0.99) for b in range(2)])

a, b = numbers(6), numbers(6)
Answers("mean_square").sample("N=2 D=3", in_a=a, in_b=b, out_loss=[math.fsum((p - q) ** 2 for p, q in zip(a, b)) / 6])

logits, targets = matrix(numbers(24, -5, 5), 4), [0, 3, 2, 1, 1, 0]
loss = math.fsum(-math.log(softmax(r)[t]) for r, t in zip(logits, targets)) / 6
Answers("cross_entropy").sample("B=2 T=3 V=4", in_logits=logits, in_targets=targets, out_loss=[loss])

gamma = matrix(matrix([0.5, 0.9, 0.25, 1.5, 0.75, 1e-30, 0.125, 0.3, 0.8, 0.999, 0.6, 0.7], 2), 3)
product = [[[math.prod(math.exp(min(max(math.log(s[i][d] + 1e-8), -50), 0)) for i in range(t + 1)) for d in range(2)]
            for t in range(3)] for s in gamma]
Answers("scan_product").sample("B=2 T=3 D=2", in_gamma=gamma, out_y=product)

u, h0, out = matrix(matrix(numbers(12), 2), 3), matrix(numbers(4), 2), []
for s, v, h in zip(gamma, u, h0):
    for gt, ut in zip(s, v):
        h = [p * q + r for p, q, r in zip(gt, h, ut)]
        out.append(h)
Answers("scan_linear").sample("B=2 T=3 D=2 chunk=2", in_gamma=gamma, in_u=u, in_h0=h0, out_h=out)

# Numbers are drawn last here, so that those of the answers above stay as they are.
x = numbers(10)
Answers("dropout").sample("N=2 D=5 p=0.4 stream=3", in_x=x, out_y=dropout(x, 0.4, 3))
gelu_answers.sample("N=2 D=5 p=0.4 stream=1", in_x=x, out_y=dropout([gelu(v) for v in x], 0.4, 1))
y, z = numbers(10), numbers(10)
dropped = dropout([2 * q - r for q, r in zip(y, z)], 0.25, 6)
combine_answers.sample("N=2 D=5 c0=-0.5 c1=2 c4=-1 p=0.25 stream=6 -x2 -x3 -x5 -x6 -x7", in_x0=x, in_x1=y, in_x4=z,
                       out_y=[-0.5 * p + d for p, d in zip(x, dropped)])

# In the second the largest is neither where gamma is largest nor where m is smallest; in the third it is below zero.
growth_answers = Answers("growth")
for text, count in ("N=2 D=3", 6), ("N=3 D=5", 15):
    gamma, m = numbers(count, 0, 1), numbers(count, 0, 1)
    growth_answers.sample(text, in_gamma=gamma, in_m=m,
                          out_growth=[max(1.1 * g + 0.1 * (1 - o) for g, o in zip(gamma, m))])
gamma = [-3.0, -2.0, -5.0]
growth_answers.sample("N=1 D=3", in_gamma=gamma, in_m=[0.5, 2.0, -1.0], out_growth=[1.1 * -2.0 + 0.1 * (1 - 2.0)])
