rule summarise:
    message:
        "Put together what was left out, what is doubtful, and what came out."
    input:
        plan.summary_inputs(),
    output:
        plan.summary_outputs()[0],
        report(
            plan.summary_outputs()[1:],
            caption="../report/tables.rst",
            category="Tables",
        ),
    params:
        item=plan.settings("summarise"),
        code=plan.code["summarise"],
    log:
        f"{LOGS}/summarise.log",
    benchmark:
        f"{LOGS}/summarise.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "ephysflow summarise --plan {plan_file:q} > {log:q} 2>&1"
