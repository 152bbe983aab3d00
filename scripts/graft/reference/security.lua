-- The reference: what is promised about safety, and what is not.

return { name = "safety", title = "Safety", pages = { { name = "security", title = "Security", text = [[
Recipes, weights, packs and photos are things that people pass on to each other. This page says what Graft promises when you
open one that you did not make, what it does not promise, and how to tell us when a promise is broken. A way around a promise
is a security bug, whatever it takes.

## Recipes

A recipe is a program. graft run and graft plan run it in a process of its own that gives its rights up before it reads the
first byte of the recipe. Three layers each hold by themselves: what the recipe can name in Lua, the paths that Graft opens
for it, and the rules of the kernel (no_new_privs, Landlock for paths and the network, seccomp for system calls). What is
promised:

- It reads the files and folders that you name on the command line, or add with --read, and no other of yours. A CSV file
stands for its folder, since the photos in it are named from there.
- It writes into its run folder and nowhere else.
- It starts no program, opens no network connection, and sends no signal to other processes.
- It ends within its limits: --max-memory (three quarters of the machine's), --max-time (24 hours) and --max-disk (half of what
is free). Reaching one ends the run; no pcall goes on after that.
- It sees a part of Lua: no files but standard output and error, of os only the clock and dates, no debug, no load, no compiled
Lua; require knows "graft" alone. What it prints cannot steer your terminal.

graft --version says which of the kernel's means this machine offers. Where seccomp cannot be had the recipe is refused; where
Landlock cannot, paths are kept by Graft's own check alone.

graft verify replays a run in the same way, with the paths that its lock names: of a run folder that somebody else made, say
--data and --weights yourself.

--trust runs a recipe with all of your rights: for files of your own. The prompt, graft -e, scripts on standard input, and the
module in stock Lua or another program are not confined at all: what you type or embed there is yours.

## Weights, models, checkpoints, packs

- Nothing in such a file is ever executed. The pickle inside a .pth file is read by a machine that knows how to rebuild
tensors and refuses everything else by name; compiled Lua is refused.
- Sizes, offsets, types and names are checked before memory is taken. No file makes Graft read or write memory that is not its
own, or crash; what is wrong with it is said.
- A model file holds tensors, and architecture, classes and preprocessing as data. Layers written in Lua are named in it, never
contained.
- A pack may bring a recipe. It is confined like any other.

## Photos and data folders

- JPEG and PNG alone, at most 32 MiB, 16,384 pixels a side and 32 megapixels; the structure is checked before the decoder sees
it, and the decoder's memory is limited to 256 MiB.
- Links that lead out of a data folder, pipes and devices are skipped and listed. Control characters in names are made visible
before a terminal sees them.

## Limits

The limit of memory counts Lua, tensors and the program together; that of time is the clock's, not the processor's. Whatever they
are: 16 MiB for a recipe's text, 8 dimensions for a tensor. graft.config{ memory = } sets a limit in programs that embed
Graft; graft run --help lists those of the command line.

## What is not promised

- That weights are good. A well-formed file can hold a network that was trained to err, and frozen weights bring their faults
along. The digests in recipe.lock tell whether a file is the one that you think it is, not whether it is benign.
- That a recipe does no harm inside of its limits: it may waste its time, train nonsense, and fill its run folder up to its
limit. What it writes there is a stranger's: look before you run it.
- Secrecy between a recipe and the data that you give it: it may copy photos into its run folder.
- Protection from bugs of the kernel, from side channels of the processor, or of one confined recipe from another that writes
to the same folder.
- Anything after --trust, at the prompt, or for programs that embed Graft.

## How the promises are checked

make test runs a suite of attacks that recipes have been known to try, and files that are broken on purpose; make sanitize runs
everything with address and undefined-behaviour sanitizers; make fuzz feeds each reader broken files and each function hostile
calls.

## Reporting

Please report a way around a promise in private first, by the means that the repository's page offers for security reports,
with the file or recipe that shows it, the output of graft --version and your processor. The fix comes with a test that fails
without it. A crash or an endless loop of a file is worth a report even when it seems harmless.]] } } }
