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


def own_numbers(seed):
    """Numbers of a generator of its own: nothing else drawn here moves them."""
    generator = random.Random(seed)
    return lambda count, low=-1.0, high=1.0: [round(generator.uniform(low, high), 3) for _ in range(count)]


def gate_sums(weight, bias, v, gates):
    """The sums of each gate's units, gate by gate."""
    sums = [dot(row, v) + c for row, c in zip(weight, bias)]
    return matrix(sums, len(sums) // gates)


def lstm(xs, h, c, wi, wh, bi, bh):
    """One sequence; returns h of every step, and c of the last."""
    out = []
    for v in xs:
        i, f, g, o = [[p + q for p, q in zip(*pair)] for pair in zip(gate_sums(wi, bi, v, 4), gate_sums(wh, bh, h, 4))]
        c = [sigmoid(q) * u + sigmoid(p) * math.tanh(r) for p, q, r, u in zip(i, f, g, c)]
        h = [sigmoid(p) * math.tanh(u) for p, u in zip(o, c)]
        out.append(h)
    return out, c


def gru(xs, h, wi, wh, bi, bh):
    """One sequence; returns h of every step."""
    out = []
    for v in xs:
        (ar, az, an), (br, bz, bn) = gate_sums(wi, bi, v, 3), gate_sums(wh, bh, h, 3)
        z = [sigmoid(p + q) for p, q in zip(az, bz)]
        n = [math.tanh(p + sigmoid(q + r) * u) for p, q, r, u in zip(an, ar, br, bn)]
        h = [(1 - p) * q + p * u for p, q, u in zip(z, n, h)]
        out.append(h)
    return out


def rnn_weights(draw, gates, inputs, width):
    return (matrix(draw(gates * width * inputs), inputs), matrix(draw(gates * width * width), width),
            draw(gates * width), draw(gates * width))


draw = own_numbers(31)
x, h0, c0 = matrix(matrix(draw(12, -2, 2), 2), 3), matrix(draw(6), 3), matrix(draw(6, -2, 2), 3)
wi, wh, bi, bh = rnn_weights(draw, 4, 2, 3)
weights = dict(in_weight_ih=wi, in_weight_hh=wh, in_bias_ih=bi, in_bias_hh=bh)
answers = Answers("lstm")
runs = [lstm(x[b], h0[b], c0[b], wi, wh, bi, bh) for b in range(2)]
answers.sample("B=2 X=3 D=2 H=3", in_x=x, in_h0=h0, in_c0=c0, **weights, out_y=[r[0] for r in runs],
               out_h_last=[r[0][-1] for r in runs], out_c_last=[r[1] for r in runs])
runs = [lstm(x[b][:1] * 4, [0] * 3, [0] * 3, wi, wh, bi, bh) for b in range(2)]
answers.sample("B=2 X=1 D=2 H=3 steps=4 -h0 -c0 -h_last -gates -cells", in_x=[x[b][:1] for b in range(2)], **weights,
               out_y=[r[0] for r in runs], out_c_last=[r[1] for r in runs])

wi, wh, bi, bh = rnn_weights(draw, 3, 2, 3)
weights = dict(in_weight_ih=wi, in_weight_hh=wh, in_bias_ih=bi, in_bias_hh=bh)
answers = Answers("gru")
runs = [gru(x[b], h0[b], wi, wh, bi, bh) for b in range(2)]
answers.sample("B=2 X=3 D=2 H=3", in_x=x, in_h0=h0, **weights, out_y=runs, out_h_last=[r[-1] for r in runs])
runs = [gru(x[b][:1] * 4, [0] * 3, wi, wh, bi, bh) for b in range(2)]
answers.sample("B=2 X=1 D=2 H=3 steps=4 -h0 -h_last -gates", in_x=[x[b][:1] for b in range(2)], **weights, out_y=runs)


def softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def length(v):
    return max(math.sqrt(dot(v, v)), 1e-12)


def address(key, beta, memory):
    """Where a key finds itself in a memory."""
    return softmax([beta * (dot(key, row) / (length(key) * length(row))) for row in memory])


def mixed(w, memory):
    return [dot(w, column) for column in zip(*memory)]


def written(memory, w, e, a):
    return [[v * (1 - p * q) + p * r for v, q, r in zip(row, e, a)] for row, p in zip(memory, w)]


# Besides ordinary numbers: rows all zero, and keys and rows shorter than the least length.
draw = own_numbers(47)
key, strength = matrix(draw(6, -2, 2), 3), [3.5, -1.25]
memories = matrix(matrix(draw(24, -2, 2), 3), 4)
short_key, short_memory = [[3e-13, -1e-13, 2e-13], key[1]], [memories[0][0], [4e-13, 0.0, -5e-13], [0.0] * 3, memories[0][3]]
answers = Answers("memory_read")
answers.sample("B=2 S=2 N=4 M=3", in_key=key, in_strength=strength, in_memory=memories,
               out_read=[mixed(address(key[b], softplus(strength[b]), memories[b]), memories[b]) for b in range(2)])
for memory, keys in (memories[1], key), (short_memory, short_key), ([[0.0] * 3] * 4, key):
    answers.sample("B=2 N=4 M=3 twice=1", in_key=keys, in_strength=strength, in_memory=memory,
                   out_read=[mixed(address(keys[b], softplus(softplus(strength[b])), memory), memory) for b in range(2)])

erase, add = matrix(draw(6, -2, 2), 3), matrix(draw(6, -2, 2), 3)
answers = Answers("memory_write")
for text, memory in ("B=2 S=2 N=4 M=3", memories), ("B=2 S=1 N=4 M=3", short_memory), ("B=2 N=4 M=3", [[0.0] * 3] * 4):
    out = []
    for b in range(2):
        mine = memory[b] if memory is memories else memory
        w = address(key[b], softplus(strength[b]), mine)
        out.append(written(mine, w, [sigmoid(v) for v in erase[b]], [math.tanh(v) for v in add[b]]))
    answers.sample(text, in_key=key, in_strength=strength, in_erase=erase, in_add=add, in_memory=memory,
                   out_memory_out=out)

key, strength = matrix(draw(9, -2, 2), 3), [3.5, -1.25, 40.0]
erase, add = matrix(draw(9, -2, 2), 3), matrix(draw(9, -2, 2), 3)
answers = Answers("memory_write_shared")
for memory in memories[0], short_memory, [[0.0] * 3] * 4:
    out = memory
    places = [address(key[b], softplus(softplus(strength[b])), memory) for b in range(3)]
    for b in range(3):
        out = written(out, places[b], [sigmoid(sigmoid(v)) for v in erase[b]], [math.tanh(math.tanh(v)) for v in add[b]])
    answers.sample("B=3 N=4 M=3", in_key=key, in_strength=strength, in_erase=erase, in_add=add, in_memory=memory,
                   out_memory_out=out)

x = matrix(matrix(numbers(24), 3), 4)
answers = Answers("take_steps")
answers.sample("B=2 T=4 D=3 first=1 count=2", in_x=x, out_y=[s[1:3] for s in x])
answers.sample("B=2 T=4 D=3 first=3", in_x=x, out_y=[s[3] for s in x])
answers.sample("B=2 T=4 D=3", in_x=x, out_y=x)
answers = Answers("columns")
answers.sample("B=2 T=4 D=3 first=1 count=1", in_x=x, out_y=[r[1] for s in x for r in s])
answers.sample("B=2 T=4 D=3 first=1", in_x=x, out_y=[r[1:] for s in x for r in s])
answers.sample("B=2 T=4 D=3 count=2", in_x=x, out_y=[r[:2] for s in x for r in s])
Answers("mean_steps").sample("B=2 T=4 D=3", in_x=x, out_y=[[math.fsum(c) / 4 for c in zip(*s)] for s in x])

table = matrix(numbers(15), 3)
Answers("add_position").sample("B=2 T=4 P=5 D=3", in_x=x, in_table=table,
                               out_y=[[v + w for v, w in zip(r, p)] for s in x for r, p in zip(s, table)])

rows = [matrix(numbers(2 * w), w) for w in (2, 1, 3, 4, 2, 5, 1, 2)]
answers = Answers("concat")
answers.sample("N=2 A=2 B=1 D=4 -x2 -x4 -x5 -x6 -x7", in_x0=rows[0], in_x1=rows[1], in_x3=rows[3],
               out_y=[rows[0][n] + rows[1][n] + rows[3][n] for n in range(2)])
answers.sample("N=2 A=2 B=1 C=3 D=4 E=2 F=5 G=1 H=2", **{"in_x%d" % i: r for i, r in enumerate(rows)},
               out_y=[flat([r[n] for r in rows]) for n in range(2)])

x = [0.0, 1e-9, -1e-4, 0.05, -0.5, 1.0, -3.0, 12.0]
Answers("tanh").sample("N=2 D=4", in_x=x, out_y=[math.expm1(2 * v) / (math.expm1(2 * v) + 2) for v in x])


def attend(query, key, value, heads, causal=False, visible=None, p=0.0, stream=0):
    """query [B][T][D], key and value [B][M][D]; every weight is written out, then masked and dropped."""
    width, weights, pairs = len(query[0][0]) // heads, [], []
    for b, rows in enumerate(query):
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            for i, q in enumerate(rows):
                seen = [j for j in range(len(key[b])) if not (causal and j > i) and not (visible and visible[b][j] < 0.5)]
                e = {j: math.exp(dot(q[own], key[b][j][own]) / math.sqrt(width)) for j in seen}
                weights += [e[j] / math.fsum(e.values()) if j in e else 0.0 for j in range(len(key[b]))]
                pairs.append((b, i, own))
    weights = matrix(dropout(weights, p, stream) if p else weights, len(key[0]))
    ctx = [[[0.0] * len(q) for q in rows] for rows in query]
    for (b, i, own), w in zip(pairs, weights):
        ctx[b][i][own] = [dot(w, column) for column in zip(*(v[own] for v in value[b]))]
    return ctx


draw = own_numbers(53)
query = matrix(matrix(draw(24, -2, 2), 4), 3)
key, value = (matrix(matrix(draw(24, -2, 2), 4), 3) for _ in range(2))
visible = [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
answers = Answers("attention")
for text, options in (("heads=2 -visible", {}), ("heads=2 causal=1 -visible", {"causal": True}),
                      ("heads=1", {"visible": visible}), ("heads=2 p=0.4 stream=3 -visible", {"p": 0.4, "stream": 3}),
                      ("heads=4 causal=1 p=0.3 stream=1", {"causal": True, "visible": [[1.0, 1.0, 0.0], [0.5, 0.0, 1.0]],
                                                          "p": 0.3, "stream": 1})):
    arrays = {"in_visible": options["visible"]} if "visible" in options else {}
    answers.sample("B=2 T=3 M=3 D=4 " + text, in_query=query, in_key=key, in_value=value, **arrays,
                   out_ctx=attend(query, key, value, int(text[6]), **options))
key, value = (matrix(matrix(draw(20, -2, 2), 2), 5) for _ in range(2))
answers.sample("B=2 T=6 M=5 D=2 -visible", in_query=matrix(matrix(flat(query), 2), 6), in_key=key, in_value=value,
               out_ctx=attend(matrix(matrix(flat(query), 2), 6), key, value, 1))


def halves(a, u, width):
    """Sums of a state's half and a sample's, block by block; a column that only one of them has stays as it is."""
    longer = max(len(a), len(u))
    whole = [(a[i] if i < len(a) else 0.0) + (u[i] if i < len(u) else 0.0) for i in range(longer)]
    return matrix(whole, width)


# Two samples, three states of width 2: one set of states for both, then a set for each.
draw = own_numbers(61)
u3, u4, n = matrix(draw(12, -2, 2), 6), matrix(draw(16, -2, 2), 8), matrix(matrix(draw(12, -2, 2), 2), 3)
reset_answers, update_answers, lstm_answers = Answers("nsm_reset"), Answers("nsm_update"), Answers("nsm_lstm")
for text, sets in ("B=2 S=3 D=2", 1), ("B=2 N=2 S=3 D=2", 2):
    a2, a4 = matrix(matrix(draw(12 * sets, -2, 2), 4), 3), matrix(matrix(draw(24 * sets, -2, 2), 8), 3)
    s = matrix(matrix(draw(6 * sets, -2, 2), 2), 3)
    reset, update, lstm = [], [], []
    for b in range(2):
        for i in range(3):
            state, one = s[b % sets][i], halves(a2[b % sets][i], u3[b], 2)
            reset.append([sigmoid(p) * v for p, v in zip(one[0], state)])
            update.append([v + sigmoid(p) * (math.tanh(q + r) - v) for p, q, r, v in zip(one[1], one[2], n[b][i], state)])
            lstm.append([sigmoid(o) * math.tanh(sigmoid(f) * v + sigmoid(k) * math.tanh(c))
                         for f, k, o, c, v in zip(*halves(a4[b % sets][i], u4[b], 2), state)])
    reset_answers.sample(text, in_a=a2, in_u=u3, in_s=s, out_y=reset)
    update_answers.sample(text, in_a=a2, in_u=u3, in_n=n, in_s=s, out_y=update)
    lstm_answers.sample(text, in_a=a4, in_u=u4, in_s=s, out_y=lstm)

ag, kernel, bias = matrix(matrix(draw(40, -2, 2), 4), 5), matrix(draw(6, -2, 2), 3), draw(2, -2, 2)
answers = Answers("conv_gate")
for steps, taps in (5, 3), (2, 3), (5, 1):
    out = []
    for x in (rows[:steps] for rows in ag):
        padded = [[0.0, 0.0]] * (taps - 1) + x
        for t in range(steps):
            c = [bias[w] + dot([k for k in kernel[w][:taps]], [row[w] for row in padded[t:t + taps]]) for w in range(2)]
            out.append([v / (1 + math.exp(-v)) * g for v, g in zip(c, x[t][2:])])
    answers.sample("B=2 T=%d W=2 K=%d" % (steps, taps), in_ag=[rows[:steps] for rows in ag],
                   in_kernel=[k[:taps] for k in kernel], in_bias=bias, out_y=out)

weights, tokens = matrix(matrix(draw(16, -2, 2), 2), 4), matrix(matrix(draw(24, -2, 2), 3), 4)
answers = Answers("route")
for attr, width in ("", 3), (" width=5", 5), (" width=2", 2):
    fitted = [[(row + [0.0] * 5)[:width] for row in rows] for rows in tokens]
    answers.sample("B=2 N=4 S=2 Q=3" + attr, in_weights=weights, in_tokens=tokens,
                   out_y=[[dot(w, f) for f in zip(*rows)] for ws, rows in zip(weights, fitted) for w in zip(*ws)])
