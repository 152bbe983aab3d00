-- What trains a network that fit.prepare looked at: its trainer, what is kept of the frozen part, its batches. graft.fit goes
-- through them epoch by epoch, graft.lr_find step by step.

local core = require "graft.core"
local data = require "graft.data"
local feature_cache = require "graft.feature_cache"
local trainer = require "graft.trainer"

local loop = {}

-- Makes job.trainer, and gives the network what the data say of themselves. `fit`: the ordinal that names the random streams.
function loop.open(job, fit)
   local set = data.handle(job.data, job.who)
   local size, several = set:size(), set:multilabel()
   if size and size ~= job.handle:input_shape()[2] then
      job.handle:set_size(size) -- the data's size wins, and the model that is saved says so
   end
   if several ~= job.handle:multilabel() then
      job.handle:set_multilabel(several) -- probabilities are sigmoids then, and the model file says so
   end
   job.fit = fit
   job.augment = data.augment(job.options.augment, job.who)
   job.options.steps, job.options.batch_size = job.steps, job.batch_size
   job.fields = trainer.options(job.options, job.who, job.steps_per_epoch)
   job.fields.fit = fit
   job.fields.at_once = true -- a step that fails ends the training
   job.trainer = core.trainer(job.handle, job.fields)
end

-- Computes what the frozen part makes of the photos, if that can be kept: in memory, or in a file of `folder`.
function loop.keep(job, folder)
   job.cache = feature_cache.choose(job)
   job.features = feature_cache.fill(job, job.cache, folder)
   if not job.cache.train then
      job.trainer:calibrate(data.handle(job.train, job.who)) -- int8 on photos; a no-op otherwise
   else
      job.trainer:use(job.features)
   end
end

-- for _, _, b in loop.batches(job, epoch): those to train on, of kept features where there are some.
function loop.batches(job, epoch)
   local features = job.cache.train and job.features or nil
   return data.handle(job.train, job.who):batches { net = job.handle, batch_size = job.batch_size, shuffle = true,
      epoch = epoch, view = feature_cache.view(job.cache, epoch), augment = not features and job.augment or nil,
      features = features, drop_last = job.options.drop_last or false, fit = job.fit, seed = core.seed(), tensors = false }
end

-- Makes the step of one of these batches. Returns its loss.
function loop.step(job, b)
   local own = type(job.fields.loss) == "function" -- it gets the batch as recipes know it
   return job.trainer:step_batch(b, own and data.wrap_batch(b) or nil)
end

-- Gives up what holds the network: trainer and features. A second call does nothing. Features are remembered for what
-- comes next, unless memory is scarce.
function loop.close(job)
   for _, name in ipairs { "trainer", "features" } do
      if job[name] then
         job[name]:close()
         job[name] = nil
      end
   end
   if core.memory().limit > 0 then
      core.forget()
   end
end

return loop
