-- The reference: pictures. What the fields of an entry mean says scripts/graft/reference.lua.

local image = { "image", "string|graft.tensor", "required", "a path, or [3,H,W] (or [1,H,W], grey) of numbers 0 to 1" }

return { name = "image", title = "Pictures", text = [[
Pictures are tensors [3,H,W]: red, green and blue planes of numbers from 0 to 1. A photo may have 16,384 pixels a side and 32
megapixels in all, and its file 32 MiB.]], entries = {
   { name = "graft.image", type = "table", text = "Pictures: load, save, resize, show, grid, overlay.",
      see = { "graft.image.load" } },
   {
      name = "graft.image.load",
      text = "Reads a JPEG or PNG file, turned as its EXIF orientation says.",
      arguments = { { "path", "string", "required", "the file" } },
      returns = { { "graft.tensor", "[3,H,W], 0 to 1" } },
      errors = { { "file", "it cannot be read, is no photo, or ends early", 'graft.image.load("tags.csv")' },
         { "limit", "it has too many pixels" } },
      example = 'print(graft.image.load("new/a.jpg").shape[1])  --> 3',
      see = { "net:preprocess", "graft.image.show" },
   },
   {
      name = "graft.image.save",
      text = "Writes a picture as .jpg or .png, by the name's ending.",
      arguments = { { "image", "graft.tensor", "required", "[3,H,W] or [1,H,W]; numbers outside of 0 to 1 are cut off" },
         { "path", "string", "required", "the file" },
         { "quality", "integer", "", "of a JPEG, 1 to 100" } },
      errors = { { "shape", "it is no picture", 'graft.image.save(graft.zeros(4, 5), "a.png")' },
         { "option", "the quality is outside of 1 to 100", 'graft.image.save(graft.zeros(3, 4, 4), "a.jpg", 101)' },
         { "file", "it cannot be written", 'graft.image.save(graft.zeros(3, 4, 4), "none/a.png")' } },
      example = 'graft.image.save(graft.rand(3, 32, 32), "noise.png")',
   },
   {
      name = "graft.image.resize",
      text = "Another size, with antialiasing as in torchvision. The ratio of the sides is not kept by itself.",
      arguments = { image, { "height", "integer", "required", "pixels, 1 to 16,384" }, { "width", "integer", "required",
         "pixels" },
         { "interpolation", '"bilinear"|"bicubic"', '"bilinear"', "how pixels are weighed" } },
      returns = { { "graft.tensor", "[3,height,width], 0 to 1" } },
      errors = { { "option", "a side is out of range", 'graft.image.resize("new/a.jpg", 0, 5)' } },
      example = 'print(graft.image.resize("new/a.jpg", 8, 10).shape[3])  --> 10',
   },
   {
      name = "graft.image.show",
      text = "Prints the picture in half blocks, in colour on a terminal. Below a file stands what it is and, when it is in a "
         .. "data set that was opened, its class.",
      arguments = { image },
      errors = { { "file", "it cannot be read", 'graft.image.show("none.jpg")' } },
      example = "graft.image.show(d.train[1].file)",
   },
} }
