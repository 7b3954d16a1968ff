/* Certificates that HAProxy orders by itself: the reports of HAProxy, or of the members of a fleet, are told to the
 * owners. */
#include "controller/app_parts.h"
#include "data/json.h"

static void add(void *ctx, const char *file, const char *reason)
{
    order_report_add(ctx, file, reason);
}

void app_orders_changed(void *ctx)
{
    struct app *app = ctx;

    order_report_begin(app->orders, "");
    agent_each_failing_order(app->agent, add, app->orders);
    order_report_end(app->orders);
}

void app_orders_told(void *ctx, const char *member, struct yyjson_val *list)
{
    struct app *app = ctx;
    size_t i, max;
    yyjson_val *order;

    order_report_begin(app->orders, member);
    yyjson_arr_foreach(list, i, max, order)
    {
        const char *file = json_str(order, "file"), *problem = json_str(order, "problem");
        if (file != NULL && problem != NULL)
            order_report_add(app->orders, file, problem);
    }
    order_report_end(app->orders);
}
