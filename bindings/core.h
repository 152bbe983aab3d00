/* clang-format off */
/* `core`: what the standard library in scripts/graft/ is built on. C gives solid primitives here; options with friendly
 * names, the fit loop, progress, reports and the command line are Lua.
 *
 * Lua gets it by `require "graft.core"`, which the loader of bindings/module.c answers (and only inside graft's own
 * modules is it meant to be used). Every function raises a table {kind=, message=, near=, where=} with __tostring
 * (bindings/error.h) when it fails; none returns nil, message. Lists are Lua lists; `T` is a tensor (bindings/tensor.h);
 * a "shape" is {C,H,W}, or {C} when flat. Unknown keys in an options table raise with the nearest one. Layer patterns
 * are those of API C10: one string or a list of strings.
 *
 * --- state and program (bindings/state.c, bindings/program.c) ---
 * core.version                        "0.1"
 * core.program                        true in build/graft, false as a module of another program
 * core.cpu                            "baseline", "avx2" or "avx512"
 * core.jpeg                           what decodes JPEG in this build: "stb_image" or "libjpeg-turbo 2.1.5"
 * core.native(precision)              boolean: has the processor instructions for "bf16", "int8"
 * core.blas()                         text: the BLAS that is linked and its kernel
 * core.seed([n]) -> n                 sets and gets the seed of every stream of this state (1 at the start)
 * core.fit([n]) -> n                  sets and gets the ordinal of the present fit (0 at the start)
 * core.draws([n]) -> n                sets and gets the number of random tensors drawn since the seed was set
 * core.program_build() -> hex|nil     the linker's digest of this program or module: every build has its own
 * core.threads([n]) -> n              sets (0: one a processor) and gets the number of threads
 * core.memory([limit]) -> {live=, peak=, blocks=, limit=, share=}   bytes; `limit` sets one (0 lifts it);
 *                                     share: what one cache may take
 * core.reset_peak()
 * core.process_peak() -> bytes|nil    the most that the whole process has held, as the system counts
 * core.watch(coroutine)               the one that runs now, so that a signal can stop it
 * core.ended() -> boolean             of a recipe in the sandbox: has it hit a limit, or was it told to stop?
 * core.clock() -> seconds             monotonic
 * core.interrupted() -> boolean       has Ctrl-C (or SIGTERM) come since core.clear_interrupt()?
 * core.clear_interrupt()              the prompt does so before each line
 * core.hold_interrupt()               it was heard: what still has to be done is not interrupted until clear_interrupt()
 * core.patient()                      the prompt: a second Ctrl-C within moments of the first does not end the program
 * core.signal() -> number|nil         the signal that came (2 or 15)
 * core.check_interrupt()              raises kind "interrupt" when it has
 * core.terminal(stream) -> columns, lines | nil    "stdin", "stdout", "stderr"; nil when it is none
 * core.error(kind, message [, near [, usage]])  raises a graft error (err.usage: exit status 2); core.is_error(v) -> boolean
 * core.nearest(word, list) -> string|nil
 * core.missing(path, what) -> text, near  "PATH: no such WHAT; nearest: OTHER"; near: OTHER or nil
 * core.glob(pattern, name) -> boolean
 * core.format_bytes(n) core.format_seconds(n) core.format_count(n) core.printable(text) -> string
 * core.random(purpose, a, b, c, n) -> list of n uniform numbers   purpose: "sample" or "script"; keyed by core.seed()
 * core.shuffle(n, a, b, c) -> list    a permutation of 1..n from the "sample" stream
 *
 * --- the prompt (bindings/repl.c, program only) ---
 * core.read_line(prompt [, complete]) -> text | nil [, "interrupt" or "terminate", whether nothing was typed]
 *                                     nil alone: end of input. Ctrl-C is taken note of and forgotten. What is pasted, and what
 *                                     comes from the history, may have several lines. complete(text before the cursor) -> text
 *                                     to insert, text to show below the line or nil
 * core.remember(text)                 an entry of the history; it may have several lines
 * core.make_private(path)             the file is there, and nobody else may read it
 * core.interactive() -> boolean       does somebody type at standard input?
 *
 * --- processes of their own (bindings/child.c, program only) ---
 * core.child(list of words) -> text, status, seconds     starts this program with these words and waits: what it wrote to
 *                                     stdout, its exit status, seconds from its start to its first output (negative: none).
 *                                     Ctrl-C ends both
 *
 * --- the sandbox (bindings/sandbox_parent.c, sandbox_child.c; program only) ---
 * core.guard(words, policy, text, {time=, memory=, disk=, out=, silent=}) -> {status=|killed_by=, limit=, signal=}
 *                                     starts this program as a guest with these words, a policy (JSON, one line) and the text
 *                                     of a recipe, and watches it (silent: its stdout leads nowhere): how it ended, the limit that it broke ("time", "memory",
 *                                     "disk"), the signal that was passed on to it
 * core.guest                          in that process: its policy as a table, with the recipe's `text`; else nil
 * core.end_by(signal)                 ends this process by that signal
 * core.protections() -> text          what this kernel gives the sandbox
 * core.room(path) -> bytes, bytes     free on the file system; memory of the machine, or of the control group
 *
 * --- text and files (bindings/files.c) ---
 * core.json(value [, indent]) -> text     tables with [1] (or marked by core.array) are arrays, keys sorted; a number
 *                                     that is not finite is null; core.null is null
 * core.parse_json(text) -> value      null becomes core.null
 * core.array(t) -> t                  marks a table as an array even when it is empty
 * core.digest(text) -> hex; core.digest_file(path) -> hex
 * core.embedded(name) -> text|nil     "recipes/head_only.lua" (or from GRAFT_LUA_PATH); core.embedded_names() -> list
 * core.base64(bytes) -> text           RFC 4648, with padding
 * core.stat(path) -> {kind="file"|"folder"|"other", size=, modified=}|nil
 * core.list(path) -> list             names in a folder, sorted by bytes, hidden ones left out
 * core.make_folder(path)              with its parents; core.remove(path); core.rename(from, to)
 * core.read(path [, limit]) -> text   core.write(path, text [, loose]): whole or not at all (beside, fsync, rename);
 *                                     `loose`: without fsync, for what can be made again after a power failure
 *
 * --- packs (bindings/pack.c) ---
 * core.pack_read(path [, whole]) -> {recipe=text, lock=text, metrics=text|nil, report=text|nil, parts=list of {name=, size=,
 *                                     sha256=}, size=}      checked: spelling and digests, with `whole` the weights' too
 * core.pack_write(path, {recipe=text, lock=text, metrics=text, report=text, weights=path})     the first two are needed
 * core.pack_is(path) -> boolean       does the file begin as a pack does?
 *
 * --- networks (bindings/network.c, network_build.c, network_run.c) ---
 * core.kinds() -> list of {name=, summary=, options={{name=, type=, required=, default=}, ...}}
 * core.network(name, shape [, preprocessing [, seed]]) -> net     only an input layer, called "input"; add and finish
 *   preprocessing: {resize=, stretch=, interpolation="bilinear"|"bicubic", mean={3}, std={3}, bgr=}
 *   net:add(kind, name|nil, options|nil, inputs) -> name, shape    inputs: list of layer names; options as in net/options.h
 *                                     (conv2d: {out=, kernel=, stride=, padding=, dilation=, groups=, bias=} ...)
 *   net:finish{output=, head=, stages={...}}    output: layer name; without head, net:head() is nil
 *   net:mark_aux(at, output, weight)  an auxiliary classifier that the architecture brings along
 *   net:set_classes(list); net:classes() -> list (empty when none); net:set_multilabel(b); net:multilabel() -> b
 * core.build(description [, seed]) -> net     from the table that net:describe() -> table gave
 *   net:name() net:head() net:output() -> string     output: the layer that gives the logits
 *   net:input_shape() -> shape; net:output_shape() -> shape; net:stages() -> list
 *   net:defer()                       layers added from now on keep zeros until weights:apply, which draws what a file lacks
 *   net:set_reference(b)              its plans fold and fuse nothing from now on: what others are measured by
 *   net:set_size(n)                   photos of n x n pixels; the resize before the crop keeps its ratio
 *   net:preprocessing() -> table
 *   net:metadata() -> table; net:set_metadata(key, text|nil)
 *   net:choose(patterns) -> list of layer names in network order
 *   net:layer_end(name) -> layer name   the layer whose output stands for a stage, subtree or layer
 *   net:layers() -> list of rows in network order
 *        {name=, kind=, shape=, parameters=, trained=, frozen=, fixed_norm=, lr_scale=, head=, aux=, stage=name|nil,
 *         source=text|nil, inputs={names}, options={}, tensors={names}, norm=boolean}
 *   net:tensors() -> list of {name=, layer=, shape=, frozen=, buffer=, trainable=, dtype=, lr_scale=}
 *   net:get(name) -> T (copy); net:set(name, T)    integer buffers come and go as whole numbers
 *   net:parameters([trainable_only]) -> count
 *   net:digest([frozen_only]) -> hex, number of tensors
 *   net:freeze(patterns) net:unfreeze(patterns) net:fix_norms(patterns, boolean) net:reinit(patterns)    change net
 *   net:lr_scale{ {pattern, scale}, ... }
 *   net:replace_head(classes, {hidden=, dropout=}) net:add_head(classes, {hidden=, dropout=})
 *   net:add_aux(layer, {weight=, hidden=, pool=}); net:remove_aux([layer]); net:aux() -> list of {at=, output=, weight=}
 *   net:cut(layer [, exit]) -> net (exit: it ends in the auxiliary classifier there); net:clone() -> net     new networks
 *   net:set_source(text)              where the values came from (file name), for all layers with parameters
 *   net:forward(x [, layers]) -> T | {T, ...}     inference. x [N,C,H,W]; `layers`: list of layer names (see layer_end), then
 *                                     a list of tensors in that order; without: logits [N,K]
 *   net:plan{input=shape, capacity=n, training=, at_once=, lean=, layers=, inputs=, stash=, prefix=} ->
 *                                     {rows=list as gr_plan_explain, arena=, memory=, stashed=, stashes=}
 *   net:step_gradient(x, gy) -> {gx=T, [tensor name]=T}     one training-mode forward and backward with the gradient gy of
 *                                     the logits: what tests and graft.nn.check compare
 *   net:close(); net:closed() -> boolean; net:version() -> integer that grows with every change; net:busy() -> boolean
 *
 * --- weights and models (bindings/weights.c) ---
 * core.weights(path [, {format=}]) -> weights     opened and checked; nothing of the file is executed
 *   weights:tensors() -> list of {name=, shape=, dtype=}; weights:get(name) -> T; weights:metadata() -> table
 *   weights:format() -> text; weights:path(); weights:sha256() -> hex of the file as it was read; weights:close()
 *   weights:apply(net, {allow_head=false, allow_aux=true, map={file name=net name}, source=, take=false}) -> {missing={},
 *                                     unused={}, mismatched={"fc.weight: [1000,512] in the file, ..."}, loaded=count}
 *                                     names absent from `map` stay as they are; net is unchanged when it raises; `take`
 *                                     closes the weights and spares a network that is deferred the copy
 * core.save_weights(path, list of {name, T}, metadata|nil)       safetensors
 * core.hold_model(net) -> weights         the model as it is now, in memory; weights:write(path) writes it later
 * core.save_model(net, path, {aux=boolean, metadata={}})         weights and architecture: a model file
 * core.export(net, path, {aux=boolean}) -> {operators=, parameters=, operator_set=, bytes=, outputs=list of {name=, shape=},
 *                                     left_out=names}     an ONNX file for other programs
 * core.snapshot(net [, trainable_only]) -> snapshot     a copy of its tensors; snapshot:restore(net), :close()
 *   weights:model([take]) -> net      the network whose architecture the file holds (kind "file" when it holds none)
 * core.load_model(path) -> net        raises kind "file" when it holds no architecture
 *
 * --- photos and data (bindings/image.c, data.c, loader.c) ---
 * core.image_load(path) -> T [3,H,W] of 0..1, EXIF orientation applied
 * core.image_save(T, path [, quality])    .png or .jpg
 * core.image_resize(T|path, height, width [, "bilinear"|"bicubic"]) -> T
 * core.image_encode(T|path, "jpeg"|"png" [, side [, quality=80]]) -> bytes, width, height     as in a file; the longer side
 *                                     has at most `side` pixels
 * core.image_blocks(T|path, columns, lines, palette) -> text     for a terminal: half blocks ("24bit", "256"), or characters
 *                                     without colour ("dark", "light": the terminal's background)
 * core.image_maps(T [C,H,W], count, across, tile_w, tile_h, low, high, palette) -> text     the first maps as a grid of grey
 *                                     tiles, black at `low`, white at `high`
 * core.image_size(path) -> width, height, "JPEG"|"PNG"
 * core.preprocess(net, T|path) -> T [1,C,H,W]
 * core.data_folder(dir, {val=, classes=, size=, on_bad=, max_skip=}) -> dataset
 * core.data_csv(file, {image=, label=, labels=text|list, separator=, split=, and those of data_folder}) -> dataset
 * core.data_idx(dir, {names=, and those of data_folder}) -> dataset
 * core.data_list(list of {image=path, class=name}, {as data_folder}) -> dataset
 *   dataset:classes() dataset:counts(["train"|"val"|"test"]) -> {class = photos}; dataset:skipped() -> list of {file=, reason=}
 *   dataset:name() dataset:path() dataset:size() -> integer|nil; dataset:multilabel() -> b; dataset:digest() -> hex of the listing
 *   dataset:split() -> part held out for val, true when nobody asked for it
 *   dataset:duplicates() -> list of {first=file, second=file}     the same content in two classes or two sets
 *   dataset:set("train"|"val"|"test") -> set (empty when absent); dataset:close()
 *   dataset:decoded() -> bytes of decoded photos in memory, the most there may be, their number
 *   dataset:with(train set) -> dataset    the same with another train set
 *   set:photo(file, side) -> T [3,H,W] of 0..1     the longer side at most `side` pixels; photos of IDX files too
 *   set:count() set:name() set:at(i) -> {file=, class=|classes=}; set:take(positions) -> set; set:dataset() -> dataset
 *   set:targets() -> T [N,K]; set:digest() -> hex of the names and contents of its photos
 *   dataset:sums() -> text          the digest of each photo's file, as sha256sum writes it; empty for IDX files
 *   set:batches{ net=, batch_size=32, shuffle=, epoch=1, augment=, drop_last=, fit=, seed=, size=, view=, skip=batches left out,
 *                tensors=true } -> iterator, nil, nil, closing value
 *        the iterator gives x [N,C,H,W], y [N,K], b; with tensors=false N, false, b. Columns of y: the network's classes when
 *        they are the data's in any order, else the data's
 *   b:files() b:classes() b:epoch() b:count(); b:input(net) -> T, while b is the present batch of its loop
 *   augment: a preset's name, or a list of {kind="hflip", p=} {kind="random_resized_crop", scale=, ratio=} {kind="color_jitter",
 *            brightness=, contrast=, saturation=, hue=} {kind="rotation", degrees=} {kind="random_erasing", p=} {kind="mixup", alpha=}
 *
 * --- training (bindings/trainer.c, losses.c, custom.c) ---
 * descriptions are plain tables; options as in train/optimizer.h, schedule.h, loss.h:
 *   optimizer {kind="sgd"|"adam"|"adamw"|"rmsprop", lr=, ...}
 *   schedule  {kind="constant"|"step"|"cosine"|"one_cycle", ...}
 *   loss      {kind="cross_entropy"|"binary_cross_entropy"|"mse", class_weights={name=number}|list, ...}
 *             or a function (logits, y, b) -> number, T; nil: cross entropy, or binary with several labels a photo
 * core.loss(description, logits, y [, classes]) -> number, grad T      mean over the batch
 * core.optimizer(description) -> optimizer       on given tensors, for tests and own loops
 *   optimizer:step(list of T, list of gradient T [, lr [, scale]])      in place
 * core.schedule(description, lr, step, steps [, steps in an epoch]) -> lr of that step (counted from 0)
 * core.trainer(net, {optimizer=, loss=, schedule=, steps=, epoch_steps=, clip=, batch_size=, fit=, seed=, fixed_norms=, at_once=,
 *             stash=, prefix=}) -> trainer
 *   trainer:step(x, y [, b]) -> loss, {[aux layer]=loss}       x, y tensors; y may also be a list of class names
 *   trainer:step_batch(b [, what the loss gets]) -> the same   a batch of set:batches without a round trip through tensors
 *   trainer:lr() trainer:norm() trainer:steps() trainer:rest() trainer:net() trainer:close()
 *   trainer:stashed() -> activations that were kept rounded for the backward pass, nil before the first step
 *   trainer:use(features|nil)         step_batch takes batches of these features from now on
 *   trainer:logits(n) -> T            of the last step's n photos
 *   trainer:save(path [, record])     a checkpoint: weights, optimiser, step, and any table that JSON can hold
 *   trainer:hold([record]) -> weights   the same in memory, for weights:write(path)
 *   trainer:restore(path) -> record   the same fit and seed; weights:record() gives it without a trainer
 *                                     kind "interrupt" is raised between steps, never inside
 *   trainer:calibrate(set)            with prefix "int8": notes the ranges that steps on photos need
 * core.evaluate(net, set, {batch_size=, loss=, heads=true, photos=false, size=, features=, remembered=true, prefix=, progress=function(done, total)}) ->
 *             the document of `graft eval --json` with count= and right=, and with photos=true a list of {file=, class=, said=, p=,
 *             p_said=, margin=}; several labels: {file=, class=, given=, p=, wrong=, margin=}
 * core.cut(net [, size]) -> list of layer names, bytes a photo      where the frozen part ends (empty: nothing can be kept)
 * core.features(net, list of sets, {budget=, folder=, size=, views=, augment=, seed=, remember=true, only_found=false, prefix=,
 *             progress=function(done, total)}) -> features | nil
 *                                     the output of the frozen part for every photo, computed once, or found where it was
 *                                     remembered; with `views` = k the first set's photos in k views that `augment` makes.
 *                                     Beyond `budget` bytes (default: core.memory().share) it goes into files in `folder`; nil:
 *                                     no frozen part, too large without a folder, or not found. Goes into
 *                                     set:batches{features=, view=}, trainer:use(features) and core.evaluate{features=};
 *                                     freezing or thawing makes it stale
 *   features:layers() -> names; features:bytes() features:photos() features:found() -> counts; features:in_file(); features:close()
 * core.forget()                       forgets what features remembered
 * core.remembered() -> bytes          in memory of what features remember
 * core.outputs(net, set, layer, {size=, prefix=}, function(T, files, classes))     a layer's output for each batch of a set
 * core.pooled(net, set, list of layers, {pool="avg"|"max"|"avg+max"|"grid", grid=, size=, prefix=, progress=function(done, total)}) ->
 *                                     {T [N,D] of each layer}, {files=, classes=, labels={position in dataset:classes()}}: one pass
 *                                     over the photos, from features that were remembered where they do
 * core.pool(T [N,C,H,W], {pool=, grid=}) -> T [N,D]     the same pooling; [N,D] stays as it is
 * core.folds(labels, classes, folds, seed) -> list of 1..folds      which photos are held out together
 * core.probes(list of {T [N,D], fraction}, {labels=, classes=, folds=list of core.folds, seed=, progress=}) -> list of {said=labels,
 *                                     sure=probabilities, l2=}        linear probes (runtime/insight/probes.h); labels from 1
 * core.bench(net, {batch=32, training=false, stash=, prefix=}) -> bench    random photos and labels for `graft bench`: inference, or training
 *                                     of what is not frozen; compiled, and not run yet. net cannot be closed meanwhile
 *   bench:run()                       one batch forward, or one training step
 *   bench:profile(on)                 every step of the plan is timed from now on
 *   bench:steps() -> list of {layer=, kind=, kernel=, absorbed={kinds}, shape=, forward=, backward=|nil}   the latter
 *                                     {seconds=, runs=, flop=, bytes=}: what was spent, and what a batch has to do at least
 *   bench:close()
 * core.interval(right, count) -> low, high        Wilson's 95 % interval
 * core.register_layer{kind=, shape=function(shape|shapes, options) -> shape, parameters=list of {name=, shape=, init="uniform"|"he"|
 *             "zeros"|"ones", decays=} or function(shape|shapes, options) -> list, pure=,
 *             forward=function(x|list, p, options) -> y [, saved], backward=function(gy, x|list, y, p, saved, options) -> gx|list, list}
 *             a kind written in Lua; what it gets is lent for the call. Without `shape`: as its first input
 *
 * --- looking inside (bindings/looking.c) ---
 * core.grad_cam_layer(net) -> name    the last layer before the classifier that gives a map
 * core.grad_cam(net, x, layer, list of classes (numbers; 0: the most likely)) -> T [N,H,W] of 0..1, classes, probabilities
 * core.occlusion(net, x [1,C,H,W], class (0: the most likely), patch, stride [, fill {C}, preprocessed]) ->
 *                                     T [H,W], class, probability, how many patches
 * core.pca(E [N,D], k) -> T [N,k], list of explained shares
 * core.tsne(E [N,D], start [N,2], perplexity, steps (0: the usual) [, function(done, steps)]) -> T [N,2], divergence
 * core.peaks(T [N,C,H,W]) -> T [N,C], T [N,C]     the largest value of each map and its place in H*W, from 0
 * core.image_paste(canvas [3,H,W], tile [3|1,h,w], top, left, scale)     writes into the canvas; corner from 1
 * core.image_overlay(image [3,H,W], map [H,W], largest, strength) -> T [3,H,W]
 * core.snap(points [N,2], columns, rows) -> list of cells     one a point, from 1, row by row
 *
 * --- tensors (bindings/tensor.c): core.tensor is that module's table.
 */
/* clang-format on */
#ifndef GRAFT_BINDINGS_CORE_H
#define GRAFT_BINDINGS_CORE_H

#include <lua.h>
#include <lauxlib.h>

#define GRAFT_VERSION "0.1"

/* Each adds its functions to the core table at the top of the stack and leaves the stack as it was. */
void graft_open_program(lua_State *L);
void graft_open_files(lua_State *L);
void graft_open_pack(lua_State *L);
void graft_open_network(lua_State *L);
void graft_open_weights(lua_State *L);
void graft_open_data(lua_State *L);
void graft_open_trainer(lua_State *L);
void graft_open_bench(lua_State *L);
void graft_open_looking(lua_State *L);
void graft_open_repl(lua_State *L);
void graft_open_child(lua_State *L);

#endif
