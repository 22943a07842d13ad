"""The masks of attention beside PyTorch's: where it gives numbers, they are the same."""

import numpy as np
import pytest

import msgflow.nn as nn
import msgflow.tensor as mt

torch = pytest.importorskip("torch", reason="the oracle of these numbers: pip install 'msgflow[oracle]'")
torch.set_num_threads(1)

BATCH, HEADS, QUERIES, KEYS = 3, 2, 5, 6
rng = np.random.default_rng(0)
QUERY, KEY = rng.standard_normal((QUERIES, BATCH, 8)), rng.standard_normal((KEYS, BATCH, 8))
HIDDEN = rng.random((QUERIES, KEYS)) < 0.3
HIDDEN[:, 0] = False  # else torch gives NaN
PADDING = np.arange(KEYS) >= np.array([[6], [3], [4]])
MASKS = {
    "bool": {"attn_mask": HIDDEN},
    "float": {"attn_mask": rng.standard_normal((QUERIES, KEYS))},
    "of each head": {"attn_mask": rng.random((BATCH * HEADS, QUERIES, KEYS)) * -9},
    "padding": {"key_padding_mask": PADDING},
    "added padding": {"key_padding_mask": np.where(PADDING, -2.5, 0.0)},
    "both": {"attn_mask": np.where(HIDDEN, -np.inf, 0.5), "key_padding_mask": np.where(PADDING, -np.inf, 0.0)},
}


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("name", MASKS)
def test_masked_attention_is_that_of_torch(name, need_weights):
    theirs = torch.nn.MultiheadAttention(8, HEADS, dtype=torch.float64)
    ours = nn.MultiHeadAttention(8, HEADS, dtype=mt.float64)
    ours.load_state_dict(mt.convert_state_dict(theirs.state_dict(), "msgflow"))
    options = {"need_weights": need_weights, "average_attn_weights": False}
    masks = {key: torch.tensor(mask) for key, mask in MASKS[name].items()}
    expected = theirs(torch.tensor(QUERY), torch.tensor(KEY), torch.tensor(KEY), **masks, **options)
    outputs = ours(mt.tensor(QUERY), mt.tensor(KEY), mt.tensor(KEY), **MASKS[name], **options)
    for mine, other in zip(outputs, expected, strict=True):
        if other is not None:
            np.testing.assert_allclose(mine.to_numpy(), other.detach().numpy(), rtol=1e-10, atol=1e-12)
    assert (outputs[1] is None) == (expected[1] is None)


@pytest.mark.parametrize("masked", [True, False])
def test_causal_encoders_are_those_of_torch(masked):
    part = torch.nn.TransformerEncoderLayer(8, HEADS, 16, 0.0, dtype=torch.float64)
    theirs = torch.nn.TransformerEncoder(part, 2, enable_nested_tensor=False)
    ours = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, HEADS, 16, 0.0, dtype=mt.float64), 2)
    ours.load_state_dict(mt.convert_state_dict(theirs.state_dict(), "msgflow"))
    later = torch.nn.Transformer.generate_square_subsequent_mask(QUERIES, dtype=torch.float64)
    expected = theirs(torch.tensor(QUERY), mask=later, is_causal=True)
    # There is_causal is a hint that the mask is such a one; here it hides by itself, too.
    out = ours(mt.tensor(QUERY), mask=later.numpy() if masked else None, is_causal=True)
    np.testing.assert_allclose(out.to_numpy(), expected.detach().numpy(), rtol=1e-10)
