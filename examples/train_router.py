"""A router that is trained, and saved with the prompts: python examples/train_router.py [provider/model]"""

import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np

import msgflow as mf
import msgflow.nn as nn
import msgflow.tensor as mt
from msgflow import flow, optim

TRAINING = {
    "billing": [
        "I was charged twice this month",
        "Please send me the invoice for May",
        "My card was declined when I paid",
        "I want my money back",
        "The price on my bill is wrong",
        "How do I change my payment method?",
        "Why is there a fee on my account statement?",
        "Can I get a refund for this order?",
    ],
    "shipping": [
        "Where is my parcel?",
        "The package has not arrived yet",
        "Can you deliver it to another address?",
        "The tracking number does not work",
        "My delivery is a week late",
        "The courier left the box in the rain",
        "How long does shipping to Norway take?",
        "The parcel arrived damaged",
    ],
    "login": [
        "I forgot my password",
        "The site says my user name is unknown",
        "I cannot sign in on my phone",
        "The login code never comes",
        "My account is locked",
        "How do I reset the password?",
        "Two-factor sign in fails",
        "I am logged out all the time",
    ],
}
HELD_OUT = [
    ("You charged my card twice, I want a refund", "billing"),
    ("Is there an invoice for my payment?", "billing"),
    ("The package is late, when is the delivery?", "shipping"),
    ("The courier never delivered my parcel", "shipping"),
    ("The password reset does not work, I cannot sign in", "login"),
    ("My login is locked", "login"),
]
FEATURES = 512


def features(text: str) -> "np.ndarray":
    """Which words are in the text, each at a place that its hash says. Shape: (FEATURES,), of length 1."""
    places = [zlib.crc32(word.strip("?.,!").encode()) % FEATURES for word in text.lower().split()]
    counts = np.bincount(places, minlength=FEATURES).astype(np.float32)
    return counts / max(float(np.linalg.norm(counts)), 1.0)


class Router(nn.Module):
    """From a text to the name of the team that answers it."""

    def __init__(self, teams: list[str]) -> None:
        super().__init__()
        self.register_buffer("teams", teams)
        self.layers = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, len(teams)))

    def forward(self, text: str) -> str:
        with mt.no_grad():
            scores = self.layers(mt.tensor(features(text)))
        return self.teams[int(mt.argmax(scores))]

    def fit(self) -> None:
        """Learn from TRAINING. Calls that run meanwhile see the weights of one moment each."""
        rows = [(text, team) for team, texts in TRAINING.items() for text in texts]
        x = mt.tensor(np.stack([features(text) for text, _ in rows]))
        y = mt.tensor([self.teams.index(team) for _, team in rows])
        optimizer = optim.AdamW(self.parameters(), lr=0.01)
        for _ in range(100):
            loss = mt.cross_entropy(self.layers(x), y)
            self.zero_grad()
            loss.backward()
            optimizer.step()

    def _get_train_tasks(self):
        return self.fit


class Support(nn.Module):
    """The router decides whose instructions the answer follows. All of it is one state."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.router = Router(list(TRAINING))
        self.answer = flow.Switch(
            {
                team: nn.Agent(team, model, f"You are the {team} team of a shop. Answer in one short sentence.")
                for team in TRAINING
            },
            key=self.router,
        )

    def forward(self, text: str) -> str:
        return self.answer(text)


def main(model: str = "local/smollm2") -> None:
    mt.manual_seed(0)
    support = Support(model)
    support.router.evalset([text for text, _ in HELD_OUT])
    support.router.update()  # trains, then evaluates
    right = sum(got == team for got, (_, team) in zip(support.router.eval_result, HELD_OUT, strict=True))
    print(f"{right} of {len(HELD_OUT)} held-out messages go to the right team")

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "support"
        mf.save(support.state_dict(), checkpoint)
        print("checkpoint:", ", ".join(sorted(path.name for path in checkpoint.iterdir())))
        fresh = Support(model)
        fresh.load_state_dict(mf.load(checkpoint))

    question = HELD_OUT[-1][0]
    print(f"{question} -> {fresh.router(question)}")
    print(fresh(question))


if __name__ == "__main__":
    main(*sys.argv[1:])
