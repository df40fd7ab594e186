"""Real English text out of Debian documentation packages, or out of a folder of text files.

A package is fetched with ``apt-get download`` and read as a tar stream; nothing is installed or unpacked.
What comes out is paragraphs of prose: tags stripped, code and tables left out, and a paragraph that was
seen before left out too, so that documents made of them are mostly distinct (the truth of the benchmark
is computed from the texts all the same, whatever duplication is left).
"""

from __future__ import annotations

import gzip
import hashlib
import html
import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

# Documentation with much prose in it, of Debian 12. A package that the machine's release lacks is left out
# and named on stderr.
# fmt: off
PACKAGES = [
    "anarchism", "apache2-doc", "aptitude-doc-en", "bash-doc", "bind9-doc", "cmake-doc",
    "cppreference-doc-en-html", "debian-faq", "debian-handbook", "debian-policy",
    "debian-reference-en", "developers-reference", "dict-devil", "dict-foldoc", "dict-gcide",
    "emacs-common", "erlang-doc", "exim4-doc-html", "freebsd-manpages", "gap-doc", "ghc-doc",
    "gimp-help-en", "git-doc", "glibc-doc", "gnu-standards", "grass-doc", "harden-doc", "jargon",
    "latex2html", "lazarus-doc-2.2", "libboost1.74-doc", "libglib2.0-doc", "libgtk-3-doc",
    "libgtk-4-doc", "libreoffice-help-en-us", "lilypond-doc-html", "linux-doc-6.1", "llvm-14-doc",
    "manpages", "manpages-dev", "maxima-doc", "nodejs-doc", "octave-doc", "openjdk-17-doc", "perl-doc",
    "postfix-doc", "postgresql-doc-15", "python-django-doc", "python-pandas-doc", "python-scipy-doc",
    "python-sklearn-doc", "python-sqlalchemy-doc", "python-statsmodels-doc", "python3.11-doc",
    "qtbase5-doc-html", "qtdeclarative5-doc-html", "qtmultimedia5-doc-html", "qttools5-doc-html",
    "r-doc-html", "racket-doc", "rust-doc", "sbcl-doc", "sqlite3-doc", "vim-runtime", "wx3.2-doc",
    "zsh-doc", "lammps-doc", "tcl8.6-doc", "tk8.6-doc", "libstdc++-12-doc", "c++-annotations-html",
    "debmake-doc", "live-manual-html", "ghostscript-doc", "stl-manual", "qtwebengine5-doc-html",
    "qtscript5-doc-html", "guile-3.0-doc", "maint-guide", "openmpi-doc", "libxcb-doc", "texinfo",
    "python-babel-doc", "python-jinja2-doc", "python-werkzeug-doc", "ansible-core", "mercurial-common",
    "subversion", "gnupg-agent",
]
# fmt: on

PARAGRAPH_CHARACTERS = (80, 1500)
# fmt: off
_FUNCTION_WORDS = frozenset((
    "the", "of", "and", "to", "a", "in", "is", "that", "for", "with", "as", "are", "be", "it", "this", "by",
    "or", "on", "not", "from", "an", "which", "at", "can", "if", "will",
))
# fmt: on
_SKIPPED = re.compile(r"(?is)<(script|style|pre|head|nav|table|svg|code-block)\b.*?</\1\s*>|<!--.*?-->")
_BLOCK = re.compile(
    r"(?i)</?(p|div|h[1-6]|li|ul|ol|dl|dt|dd|br|hr|section|article|header|footer|blockquote|body|tr|td|th)\b[^>]*>"
)
_TAG = re.compile(r"<[^>]{0,2000}>")
_ROFF_BREAK = re.compile(r"^[.'](PP|LP|P|SH|SS|TP|IP|HP|Pp|Sh|Ss|It|sp|br|EX|EE|nf|fi)\b")
_ROFF_ESCAPE = re.compile(r"\\f[BIRP]|\\f\([A-Z]{2}|\\s[+-]?\d|\\[&|^/,]|\\\(..|\\\[[^\]]*\]")
_BLANK_LINE = re.compile(r"\n\s*\n")
_WORD = re.compile(r"[^\W_]+")
_READ = re.compile(r"(?i)\.(html?|x?html|txt|rst|md|pod|[1-9](\w*)?|info(-\d+)?|dict\.dz|index)(\.gz)?$")
_LARGEST_FILE = 20_000_000


class SourceError(Exception):
    """No text can be had; the message says what to do."""


def texts(cache: Path, folder: Path | None) -> Path:
    """The paragraphs of all sources as Parquet (source, file, paragraph), made once.

    Raises:
        SourceError: apt is missing, or nothing readable was found.
    """
    name = hashlib.sha256("\n".join(PACKAGES).encode()).hexdigest()[:10]
    if folder is not None:
        name = "folder-" + hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:10]
    target = cache / f"paragraphs-{name}.parquet"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    if folder is not None:
        found: Iterable[tuple[str, list[tuple[str, list[str]]]]] = [
            (folder.name, list(_folder_files(folder)))
        ]
    else:
        packages = download(cache / "packages")
        pool = ProcessPoolExecutor(2)
        found = zip([p.name.split("_")[0] for p in packages], pool.map(read_package, packages), strict=True)
    seen: set[bytes] = set()
    schema = pa.schema([("source", pa.string()), ("file", pa.string()), ("paragraph", pa.string())])
    unfinished = target.with_suffix(".part")
    total = 0
    with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
        for source, files in found:
            rows: list[tuple[str, str, str]] = []
            for file, paragraphs in files:
                for paragraph in paragraphs:
                    digest = _fingerprint(paragraph)
                    if digest not in seen:
                        seen.add(digest)
                        rows.append((source, file, paragraph))
            size = sum(len(row[2]) for row in rows)
            total += size
            print(f"  {source}: {len(files)} files, {size / 1e6:.1f} MB of new prose", file=sys.stderr)
            columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
            writer.write_table(pa.table(columns, schema=schema))
    if not total:
        unfinished.unlink()
        raise SourceError(f"no English prose in {folder or 'the packages'}")
    unfinished.rename(target)
    return target


def download(folder: Path) -> list[Path]:
    """The package files, fetched where they are not there yet.

    Raises:
        SourceError: neither apt nor any package.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not list(folder.glob(f"{name}_*.deb"))]
    if missing and not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise SourceError(
            "the corpus is made from Debian documentation packages and apt-get or dpkg-deb is missing here: "
            "run on Debian or Ubuntu, or give --text-folder DIR with text files of your own (English, "
            "several hundred MB for the larger sizes)"
        )
    for name in missing:
        done = subprocess.run(["apt-get", "download", name], cwd=folder, capture_output=True, text=True)  # noqa: S607
        if done.returncode:
            print(f"  {name}: left out ({done.stderr.strip().splitlines()[-1:]})", file=sys.stderr)
    packages = sorted(path for name in PACKAGES for path in folder.glob(f"{name}_*.deb"))
    if not packages:
        raise SourceError("no package could be fetched: run `apt-get update` once and try again")
    return packages


def read_package(package: Path) -> list[tuple[str, list[str]]]:
    """(file, its paragraphs) of a package's documents."""
    found = []
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            if not member.isfile() or member.size > _LARGEST_FILE or not _READ.search(member.name):
                continue
            content = archive.extractfile(member)
            if content is None:
                continue
            kept = paragraphs(member.name, content.read())
            if kept:
                found.append((member.name, kept))
    return sorted(found)


def _folder_files(folder: Path) -> Iterator[tuple[str, list[str]]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and _READ.search(path.name):
            kept = paragraphs(path.name, path.read_bytes())
            if kept:
                yield str(path.relative_to(folder)), kept


def paragraphs(name: str, content: bytes) -> list[str]:
    """The paragraphs of English prose in one file."""
    if content[:2] == b"\x1f\x8b":
        try:
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read()
        except (OSError, EOFError):
            return []
    text = content.decode("utf-8", "replace").replace("\r", "")
    if b"<html" in content[:3000].lower() or b"<!doctype html" in content[:200].lower():
        text = _SKIPPED.sub("\n\n", text)
        text = html.unescape(_TAG.sub("", _BLOCK.sub("\n\n", text)))
    elif re.search(r"\.[1-9]\w*(\.gz)?$", name):
        text = _from_roff(text)
    pieces = (" ".join(piece.split()) for piece in _BLANK_LINE.split(text))
    shortest, longest = PARAGRAPH_CHARACTERS
    return [piece for piece in pieces if shortest <= len(piece) <= longest and _is_prose(piece)]


def _from_roff(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if _ROFF_BREAK.match(line):
            lines.append("")
        elif line.startswith((".\\", "'\\")):
            continue
        elif line.startswith((".", "'")):
            lines.append(line.partition(" ")[2].replace('"', ""))
        else:
            lines.append(line)
    return _ROFF_ESCAPE.sub("", "\n".join(lines)).replace("\\-", "-").replace("\\e", "\\")


def _is_prose(paragraph: str) -> bool:
    """Whether a paragraph reads like English sentences: enough words, and enough of the common ones."""
    words = _WORD.findall(paragraph.lower())
    if len(words) < 12 or sum(map(len, words)) < 0.65 * len(paragraph):
        return False
    return sum(word in _FUNCTION_WORDS for word in words) >= 0.15 * len(words)


def _fingerprint(paragraph: str) -> bytes:
    return hashlib.blake2b(" ".join(_WORD.findall(paragraph.lower())).encode(), digest_size=8).digest()
