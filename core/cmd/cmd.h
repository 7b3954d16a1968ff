/* cmd.h — one function per subcommand. Each has main()'s arguments from its own name on and returns the exit status. */
#ifndef HAPTIC_CMD_CMD_H
#define HAPTIC_CMD_CMD_H

/* The controller. 0 after an orderly end, 1 when it cannot start, 2 for wrong usage. */
int cmd_agent(int argc, char **argv);
int cmd_run(int argc, char **argv);
/* Offline, on files: 0 clean, 1 findings, 2 wrong usage or unreadable input. */
int cmd_render(int argc, char **argv);
int cmd_validate(int argc, char **argv);
int cmd_test(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_repl(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_explain(int argc, char **argv);
/* From the declarations of annotations: 0 done, 1 the templates do not load, 2 wrong usage. */
int cmd_policy(int argc, char **argv);
int cmd_annotations(int argc, char **argv);
/* 0, 1 for a wrong configuration, 2 for wrong usage. */
int cmd_rbac(int argc, char **argv);
int cmd_config(int argc, char **argv);
/* 0, 1 when the API server refuses, 2 for wrong usage. */
int cmd_crds(int argc, char **argv);
/* 0, 1 when the API server refuses, 2 for wrong usage. */
int cmd_snapshot(int argc, char **argv);
/* 0 clean, 1 findings, 2 when the cluster cannot be asked, or wrong usage. */
int cmd_doctor(int argc, char **argv);
/* `haptic test` in the controller's jail. */
int cmd_trial(int argc, char **argv);
int cmd_renderer(int argc, char **argv);
int cmd_version(int argc, char **argv);

/* Their options, for shell completion and manual pages. */
struct option_table;
const struct option_table *cmd_run_options(void);
const struct option_table *cmd_agent_options(void);
const struct option_table *cmd_render_options(void);
const struct option_table *cmd_validate_options(void);
const struct option_table *cmd_test_options(void);
const struct option_table *cmd_bench_options(void);
const struct option_table *cmd_repl_options(void);
const struct option_table *cmd_diff_options(void);
const struct option_table *cmd_explain_options(void);
const struct option_table *cmd_policy_options(void);
const struct option_table *cmd_annotations_options(void);
const struct option_table *cmd_rbac_options(void);
const struct option_table *cmd_config_options(void);
const struct option_table *cmd_crds_options(void);
const struct option_table *cmd_snapshot_options(void);
const struct option_table *cmd_doctor_options(void);
const struct option_table *cmd_version_options(void);

#endif
