"""`msgflow demo`: a retrieval agent over real documents, its spans, and a prompt swapped while it is alive."""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgflow
from msgflow import nn, trace
from msgflow.data import BM25, Document, Index, read_folder, split

QUESTION = "Which library does the wire client use?"
INSTRUCTIONS = "Answer the question in one short sentence. Use only the passage."
OTHER_INSTRUCTIONS = "Answer the question, then explain why in a second sentence."


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and the ids of the passages that it was shown."""

    text: str
    sources: tuple[str, ...]


class AnswerFromDocs(nn.Module):
    """Retrieve passages, then let the agent answer from them."""

    def __init__(self, index: Index, model: str) -> None:
        super().__init__()
        self.retriever = nn.Retriever(index, top_k=1, name="docs")
        self.agent = nn.Agent("answerer", model, INSTRUCTIONS, settings={"max_tokens": 80})

    def forward(self, question: str) -> Answer:
        hits = self.retriever(question)
        passages = "\n\n".join(hit.text for hit in hits)
        text = self.agent(f"Passage: {passages}\n\nQuestion: {question}")
        return Answer(" ".join(text.split()), tuple(hit.id for hit in hits))


def add_command(commands: Any) -> None:
    parser = commands.add_parser("demo", help="ask a question about a folder of documents, with an embedded model")
    parser.add_argument("--docs", type=Path, help="a folder of Markdown or text files (default: the docs of msgflow)")
    parser.add_argument("--ask", default=QUESTION, metavar="QUESTION", help="what to ask (default: %(default)s)")
    parser.add_argument("--model", default="local/smollm2", help="provider/model (default: %(default)s, embedded)")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    start = time.perf_counter()
    folder = own_docs() if chosen.docs is None else chosen.docs
    passages = passages_of(folder)
    print(f"docs:     {folder.resolve().name}, {len(passages)} passages")
    workflow = AnswerFromDocs(BM25(passages), chosen.model)
    with trace.configure(exporter="memory", service_name="msgflow demo") as tracing:
        ask(workflow, chosen.ask)
        print(f"time:     {time.perf_counter() - start:.1f} s to the first answer\n\n{tracing.draw()}\n")
        print(f"swap:     agent.instructions = {OTHER_INSTRUCTIONS!r}")
        workflow.load_state_dict({**workflow.state_dict(), "agent.instructions": OTHER_INSTRUCTIONS})
        ask(workflow, chosen.ask)


def ask(workflow: AnswerFromDocs, question: str) -> None:
    answer = workflow(question)
    print(f"question: {question}\nanswer:   {answer.text}")
    for source in answer.sources:
        print(f"source:   {source}")
    print(f"state:    {workflow.digest()}", flush=True)


def passages_of(folder: Path) -> list[Document]:
    """Passages short enough for a small model to answer from."""
    return split(read_folder(folder), max_chars=600)


def own_docs() -> Path:
    """The docs of msgflow: inside the installed package, or beside it in a checkout."""
    package = Path(msgflow.__file__).parent
    installed = package / "_docs"
    return installed if installed.is_dir() else package.parent / "docs"
