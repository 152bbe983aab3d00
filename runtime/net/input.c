/* Another photo size for a network that is there already. */
#include "base/memory.h"
#include "base/status.h"
#include "net/graph.h"

int gr_network_set_input(struct gr_network *net, struct gr_shape input) {
    if (input.c != net->input.c)
        return gr_fail(GR_ERROR_SHAPE, "%s: expected photos of %d channels, got %d", net->name, net->input.c,
                       input.c);
    if (input.h < 1 || input.w < 1 || input.h > GR_MAX_SIDE || input.w > GR_MAX_SIDE)
        return gr_fail(GR_ERROR_SHAPE, "%s: expected a photo size of 1 to %d pixels, got %dx%d", net->name,
                       GR_MAX_SIDE, input.h, input.w);
    struct gr_shape *shapes = gr_calloc((size_t)net->layer_count, sizeof *shapes);
    if (!shapes)
        return GR_ERROR_MEMORY;
    shapes[0] = input;
    int status = gr_graph_shapes(net, shapes);
    if (!status) {
        for (int i = 0; i < net->layer_count; i++)
            net->layers[i]->shape = shapes[i];
        int64_t resize = ((int64_t)net->preprocessing.resize * input.h + net->input.h / 2) / net->input.h;
        net->preprocessing.resize = (int)(resize < input.h ? input.h : resize);
        net->input = input;
        net->version++;
    }
    gr_free(shapes);
    return status;
}
