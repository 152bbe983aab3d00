/* ONNX files: a network for other programs to run. Written only: a file of theirs is not read.
 *
 * The format is protobuf (https://protobuf.dev/programming-guides/encoding, messages as in onnx.proto):
 * fields as a number and a kind, then a variable-length integer, four bytes, or a length and so many bytes.
 * Version 8 of the format, which every reader since 2022 knows. The input is called "image", [N,C,H,W] for
 * any N, in RGB unless the network wants BGR, preprocessed as the metadata say; the output "logits". The
 * metadata:
 *
 *     graft.network         name of the architecture
 *     graft.classes         JSON: the class of each logit; left out when they have no names
 *     graft.probabilities   of logits: "softmax" or, with several labels a photo, "sigmoid"
 *     graft.preprocessing   JSON: {"size": [H,W], "resize", "stretch", "interpolation", "channels", "scale",
 *                           "mean", "std"}: the short side resized and the middle cut out (stretch: both
 * sides resized to size), then (value * scale - mean) / std
 *
 * and those of the network itself, such as its licence. */
#ifndef GRAFT_IO_ONNX_H
#define GRAFT_IO_ONNX_H

#include "net/operators.h"

enum { GR_ONNX_FORMAT = 8 };

/* Writes the operators of a network; `version` is the program's. The weights go from where they are into the
 * file. GR_ERROR_LIMIT above 2 GiB, which is what protobuf can say; GR_ERROR_NAME for a layer whose name is
 * not UTF-8. On any error the file that stood at `path` is whole; the message starts with the path. `bytes`:
 * the file's size. */
int gr_onnx_write(const struct gr_operators *operators, const char *path, const char *version,
                  uint64_t *bytes);

#endif
