-- The architectures that Graft knows: one short file a family, each returning a list of entries
--
--   name           what `graft.models.NAME` and `arch=` say
--   input          {C, H, W} that it was trained on
--   head           the classifier's layer; the dropout directly before it belongs to it
--   stages         names from input to output, stem first. A stage is all that follows the one before it, up to this
--                  layer or subtree with the norms and activations right after it; choose names that mean just that
--   preprocessing  how a photo becomes the input (nil: ImageNet's usual way)
--   build          function(x, classes) -> logits [, auxiliary classifiers]; `classes` is their number
--   has, lacks     tensors by which a weights file is recognised: {name, shape}, and names that it must not hold
--   rename         function(name) -> this file's name for a tensor of another program's naming (optional)
--
-- A new architecture is a new file here and one line below.

return {
   "resnet",
   "vgg",
   "mobilenet",
   "efficientnet_lite",
   "squeezenet",
   "googlenet",
   "darknet",
   "fashion",
}
